"""The one entry: `python run.py method=meancache budget=10 gamma=4`, with -m for sweeps."""

import logging
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from experiments.errors import one_line
from experiments.match import with_matched_threshold
from experiments.stages import Outcome, run_stages
from experiments.tabulate import FAILURE, make_table, publish, remember, show
from experiments.track import report, tracker_of
from meancache.artifacts import write_atomic

log = logging.getLogger(__name__)
TRACEBACK_WANTED = "HYDRA_FULL_ERROR" in os.environ


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    try:
        outcome = run_job(config)
    except Exception as error:
        if job.mode == RunMode.RUN:
            leave(error)
            raise
        log.error("this job failed, the others go on: %s", error, exc_info=one_line(error, ()) is None)
        write_atomic(folder / FAILURE, one_line(error, ()) or repr(error))
        return
    if outcome is None:
        return
    remember(outcome, folder)
    if job.mode == RunMode.RUN:  # a sweep shows one table of all its jobs when it ends
        reference = Outcome(outcome.reference, outcome.reference, "")
        both = [outcome] if outcome.run == outcome.reference else [reference, outcome]
        show(make_table(both, config.metrics.names, outcome.run), outcome.run)
        if config.publish:
            publish(both, outcome.run, Path(config.publish))


def run_job(config: DictConfig) -> Outcome | None:
    run_config = with_matched_threshold(config)
    with tracker_of(run_config) as tracker:
        outcome = run_stages(run_config)
        if outcome is not None:
            report(tracker, outcome)
    return outcome


def leave(error: Exception) -> None:
    """End with one line if the user can mend it; a defect of ours keeps its traceback."""
    message = one_line(error, sys.argv[1:])
    if message is not None and not TRACEBACK_WANTED:
        sys.exit(f"error: {message}")


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors of composing arrive here whole, to be told in one line
    try:
        main()
    except Exception as error:
        leave(error)
        raise

"""The one entry: `python run.py method=meancache budget=10 gamma=4`, with -m for sweeps."""

import logging
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from experiments.comparison import Comparison
from experiments.errors import one_line
from experiments.job import Job
from experiments.mirror import report, tracker_of
from experiments.stages import run_stages
from experiments.tabulate import FAILURE, leave_for_sweep, make_table, metric_names, publish, show
from experiments.threshold import resolve_threshold
from meancache.artifacts import write_atomic

log = logging.getLogger(__name__)
TRACEBACK_WANTED = "HYDRA_FULL_ERROR" in os.environ


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    hydra_job = HydraConfig.get()
    folder = Path(hydra_job.runtime.output_dir)
    try:
        comparison = run_job(config, Path(hydra_job.sweep.dir) if hydra_job.mode == RunMode.MULTIRUN else None)
    except Exception as error:
        if hydra_job.mode == RunMode.RUN:
            leave(error)
            raise
        log.error("this job failed, the others go on: %s", error, exc_info=one_line(error, ()) is None)
        write_atomic(folder / FAILURE, one_line(error, ()) or repr(error))
        return
    if comparison is None:
        return
    leave_for_sweep(comparison, folder)
    if hydra_job.mode == RunMode.RUN:  # a sweep shows one table of all its jobs when it ends
        run, reference = comparison.run, comparison.of_reference
        both = [comparison] if run == comparison.reference else [reference, comparison]
        show(make_table(both, metric_names(config), run.path, config.compare), run.path)
        if config.publish:
            publish(both, run.path, Path(config.publish))


def run_job(config: DictConfig, sweep: Path | None) -> Comparison | None:
    job = Job(resolve_threshold(config))
    with tracker_of(job.config, sweep) as tracker:
        comparison = run_stages(job)
        if comparison is not None:
            report(tracker, comparison)
    return comparison


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

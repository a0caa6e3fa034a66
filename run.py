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
from experiments.stages import Outcome, run_stages
from experiments.tabulate import make_table, remember, show
from meancache.config import parse_config


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    run_config = parse_config(config)
    outcome = run_stages(run_config)
    if outcome is None:
        return
    job = HydraConfig.get()
    remember(outcome, Path(job.runtime.output_dir))
    if job.mode == RunMode.RUN:
        both = dict.fromkeys([Outcome(outcome.reference, outcome.reference), outcome])
        show(make_table(list(both), outcome.run), outcome.run)


if __name__ == "__main__":
    traceback_wanted = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors arrive here whole, to be told in one line
    try:
        main()
    except Exception as error:
        message = one_line(error, sys.argv[1:])
        if traceback_wanted or message is None:
            raise
        logging.getLogger("meancache").debug("traceback", exc_info=True)
        sys.exit(f"error: {message}")

"""python -m experiments.report runs="outputs/sweeps/2026-01-31_12-00-00-000000" folder=report

`runs` names run folders, sweeps or a whole outputs folder, with spaces between several; open <folder>/index.html.
"""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING, OmegaConf

from experiments.errors import run_program
from experiments.report.find import find_comparisons
from experiments.report.page import write_report


@dataclass
class Command:
    """Arguments of the command.

    Attributes:
        runs: what to show.
        folder: where to write it.
        title: its heading; by default the models.
        compare: a row by its label, whose scores are taken off the others', on the same prompts.
    """

    runs: str = MISSING
    folder: str = MISSING
    title: str = ""
    compare: str | None = None


def main(arguments: Sequence[str]) -> None:
    """Find the runs and write their report."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = dict(argument.partition("=")[::2] for argument in arguments)  # as they are: labels look like YAML
    command = OmegaConf.merge(OmegaConf.structured(Command), given)
    comparisons = find_comparisons([Path(path) for path in shlex.split(command.runs)])
    print(write_report(comparisons, Path(command.folder), command.title, command.compare))


if __name__ == "__main__":
    run_program(main)

"""A Hydra sweeper with one job for each row of a table; Hydra looks for sweepers in this namespace package.

A product of lists cannot say "15 steps of the plain solver, but a budget of 10 for MeanCache". Here each row is the
overrides of one job, as one would type them, or of several where it has lists; lists on the command line multiply every
row.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override


@dataclass
class RowSweeperConf:
    """Select with ``override /hydra/sweeper: rows`` and set ``hydra.sweeper.rows``."""

    _target_: str = "hydra_plugins.row_sweeper.RowSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None
    rows: list[str] = field(default_factory=list)


class RowSweeper(BasicSweeper):
    """Hydra's basic sweeper, with every row in front of every job's overrides."""

    def __init__(self, max_batch_size: int | None, rows: Sequence[str], params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size, params)
        self.rows = list(rows)

    def split_arguments(self, overrides: list[Override], max_batch_size: int | None) -> Any:  # type: ignore[override]
        """Batches of jobs, each a list of overrides."""
        combined = [[*row, *job] for row in expand(self.rows) for job in _product(overrides)]
        size = max_batch_size or max(len(combined), 1)
        return [combined[start : start + size] for start in range(0, len(combined), size)]


def expand(rows: Sequence[str]) -> list[list[str]]:
    """The overrides of every job of these rows."""
    parser = OverridesParser.create()
    return [job for row in rows for job in _product(parser.parse_overrides(shlex.split(row)))]


def _product(overrides: list[Override]) -> list[list[str]]:
    return [list(job) for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]


ConfigStore.instance().store(group="hydra/sweeper", name="rows", node=RowSweeperConf, provider="meancache")

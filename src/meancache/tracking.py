"""A mirror of runs for tracking services. The disk stays the source of truth; everything runs the same without one.

The only file that knows Weights & Biases.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from meancache.artifacts import make_folder
from meancache.config import TrackingConfig

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

MODES = ("online", "offline")
Cell = str | float | Path | None  # of a table


class Tracker(Protocol):
    """What a tracking service is told about one run."""

    def log_config(self, config: Mapping[str, Any]) -> None:
        """The resolved configuration."""

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Final numbers by name."""

    def log_table(self, name: str, rows: Sequence[Mapping[str, Cell]]) -> None:
        """A table; its columns are the keys of all rows, and a path is the picture or video (MP4) that lies there."""

    def log_picture(self, name: str, path: Path) -> None:
        """A named figure."""

    def finish(self) -> None:
        """Flush and close. Nothing is logged afterwards."""


class NullTracker:
    """Tells nobody."""

    def log_config(self, config: Mapping[str, Any]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float]) -> None: ...

    def log_table(self, name: str, rows: Sequence[Mapping[str, Cell]]) -> None: ...

    def log_picture(self, name: str, path: Path) -> None: ...

    def finish(self) -> None: ...


class WandbTracker:
    """Tells Weights & Biases. Numbers go to the run's summary: a run has one of each, no curve."""

    def __init__(self, run: wandb.Run) -> None:
        self._run = run

    def log_config(self, config: Mapping[str, Any]) -> None:
        self._run.config.update(dict(config), allow_val_change=True)  # a resumed run has one already

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        self._run.summary.update(dict(metrics))

    def log_table(self, name: str, rows: Sequence[Mapping[str, Cell]]) -> None:
        from wandb import Image, Table, Video

        def shown(cell: Cell) -> Any:
            return (Video if cell.suffix == ".mp4" else Image)(str(cell)) if isinstance(cell, Path) else cell

        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[shown(row.get(key)) for key in columns] for row in rows]
        self._run.log({name: Table(columns=list[str | int](columns), data=cells)})

    def log_picture(self, name: str, path: Path) -> None:
        from wandb import Image

        self._run.log({name: Image(str(path))})

    def finish(self) -> None:
        self._run.finish()


def start(config: TrackingConfig, *, folder: Path, identity: str, kind: str) -> Tracker:
    """Open a tracker for one run.

    Args:
        config: which service and how.
        folder: where the service keeps its files; offline runs are found there, to be sent later with ``wandb sync``.
        identity: names the run. Whoever opens a tracker with the same name goes on with the same run: online at once,
            offline when it is sent. There the run sent last replaces what it has in common with those before, so each
            must be told everything.
        kind: sort of run, e.g. "run" or "sweep".

    Raises:
        ValueError: an unknown kind or mode, or the service cannot be reached or refuses us.
    """
    if config.kind == "none":
        return NullTracker()
    if config.kind != "wandb":
        raise ValueError(f"tracking.kind must be none or wandb, got {config.kind!r}")
    if config.mode not in MODES:
        raise ValueError(f"tracking.mode must be one of {', '.join(MODES)}, got {config.mode!r}")
    run = _start_wandb(config, make_folder(folder), identity, kind)
    log.info("tracking: %s", run.url if config.mode == "online" else f"in {folder}; send it with `wandb sync`")
    return WandbTracker(run)


def _start_wandb(config: TrackingConfig, folder: Path, identity: str, kind: str) -> wandb.Run:
    os.environ.setdefault(
        "WANDB_DATA_DIR", str(folder.resolve())
    )  # tables keep their pictures there until they are sent
    import wandb

    try:
        return wandb.init(
            project=config.project,
            entity=config.entity,
            group=config.group,
            name=config.name,
            id=identity,
            job_type=kind,
            mode="online" if config.mode == "online" else "offline",
            resume="allow" if config.mode == "online" else None,  # offline it cannot know whether there is one
            dir=folder,
            settings=wandb.Settings(silent=True, console="off"),
            reinit="create_new",  # jobs of a sweep follow each other in one process
        )
    except wandb.Error as error:
        raise ValueError(
            f"Weights & Biases did not start: {error}; use tracking.mode=offline, which needs no account, or log in "
            "with `wandb login`"
        ) from error

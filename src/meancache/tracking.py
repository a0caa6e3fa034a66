"""A mirror of runs for tracking services. The disk stays the source of truth; everything runs the same without one.

The only file that knows Weights & Biases.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from meancache.artifacts import make_folder
from meancache.config import TrackingConfig

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

MODES = ("online", "offline")


class Tracker(Protocol):
    """What a tracking service is told about one run."""

    def log_config(self, config: Mapping[str, Any]) -> None:
        """The resolved configuration."""

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Final numbers by name."""

    def log_samples(self, samples: Sequence[tuple[Path, str]]) -> None:
        """Pictures and videos (MP4), each with its caption."""

    def log_picture(self, name: str, path: Path) -> None:
        """A named figure."""

    def finish(self) -> None:
        """Flush and close. Nothing is logged afterwards."""


class NullTracker:
    """Tells nobody."""

    def log_config(self, config: Mapping[str, Any]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float]) -> None: ...

    def log_samples(self, samples: Sequence[tuple[Path, str]]) -> None: ...

    def log_picture(self, name: str, path: Path) -> None: ...

    def finish(self) -> None: ...


class WandbTracker:
    """Tells Weights & Biases. Numbers go to the run's summary: a run has one of each, no curve."""

    def __init__(self, run: wandb.Run) -> None:
        self._run = run

    def log_config(self, config: Mapping[str, Any]) -> None:
        self._run.config.update(dict(config))

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        self._run.summary.update(dict(metrics))

    def log_samples(self, samples: Sequence[tuple[Path, str]]) -> None:
        from wandb import Image, Video

        def media(path: Path, caption: str) -> Image | Video:
            return (Video if path.suffix == ".mp4" else Image)(str(path), caption=caption)

        self._run.log({"samples": [media(path, caption) for path, caption in samples]})

    def log_picture(self, name: str, path: Path) -> None:
        from wandb import Image

        self._run.log({name: Image(str(path))})

    def finish(self) -> None:
        self._run.finish()


def start(config: TrackingConfig, *, folder: Path) -> Tracker:
    """Open a tracker for one run.

    Args:
        config: which service and how.
        folder: where the service keeps its files; offline runs are found there, to be sent later with ``wandb sync``.

    Raises:
        ValueError: an unknown kind or mode, or the service cannot be reached or refuses us.
    """
    if config.kind == "none":
        return NullTracker()
    if config.kind != "wandb":
        raise ValueError(f"tracking.kind must be none or wandb, got {config.kind!r}")
    if config.mode not in MODES:
        raise ValueError(f"tracking.mode must be one of {', '.join(MODES)}, got {config.mode!r}")
    run = _start_wandb(config, make_folder(folder))
    log.info("tracking: %s", run.url or f"offline, in {folder}; send it with `wandb sync`")
    return WandbTracker(run)


def _start_wandb(config: TrackingConfig, folder: Path) -> wandb.Run:
    import wandb

    try:
        return wandb.init(
            project=config.project,
            entity=config.entity,
            group=config.group,
            name=config.name,
            mode="online" if config.mode == "online" else "offline",
            dir=folder,
            settings=wandb.Settings(silent=True, console="off"),
            reinit="create_new",  # jobs of a sweep follow each other in one process
        )
    except wandb.Error as error:
        raise ValueError(
            f"Weights & Biases did not start: {error}; use tracking.mode=offline, which needs no account, or log in "
            "with `wandb login`"
        ) from error

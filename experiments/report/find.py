"""Which runs a report is about: from run folders, sweeps or a whole outputs folder."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.comparison import Comparison
from meancache.run_folder import RunFolder

log = logging.getLogger(__name__)


def find_comparisons(paths: Sequence[Path]) -> list[Comparison]:
    """Every run under these folders with the reference that it was evaluated against, each once, in this order.

    Args:
        paths: run folders, folders of run folders, folders with a ``runs`` in them (``output=``), and folders that
            a job or a sweep has left its comparison.json in.

    Raises:
        ValueError: a folder without runs, or a run that is unfinished, not evaluated or without its reference.
    """
    if not paths:
        raise ValueError("runs= names nothing; say run folders, sweeps, or the folder given as output=")
    found: dict[Path, Comparison] = {}
    for comparison in (comparison for path in paths for comparison in _under(path)):
        found.setdefault(comparison.run.path.resolve(), comparison)
    return list(found.values())


def _under(path: Path) -> list[Comparison]:
    if (path / "config.yaml").is_file():
        return [_evaluated(RunFolder(path))]
    left = sorted(path.glob("*/comparison.json"), key=_job_number) or sorted(path.glob("comparison.json"))
    if left:
        return [Comparison.from_json(file.read_text()) for file in left]
    found = list(_ready(path / "runs" if (path / "runs").is_dir() else path))
    found.sort(key=lambda c: (c.reference.name, c.run != c.reference))  # a reference, then its runs
    if not found:
        raise ValueError(
            f"{path} holds no finished and evaluated run; name a run folder, a sweep, or the folder given as output="
        )
    return found


def _job_number(file: Path) -> tuple[int, str]:
    name = file.parent.name
    return (int(name) if name.isdigit() else 0, name)


def _ready(folder: Path) -> Iterator[Comparison]:
    """Runs of this folder that can be shown; the others, perhaps still in the making, are named."""
    for path in sorted(folder.glob("*/config.yaml")):
        run = RunFolder(path.parent)
        if run.is_done and (run.metrics() is not None or run.config()["method"]["name"] == "full"):
            yield _evaluated(run)
        else:
            log.info("left out: %s, unfinished or not evaluated", run.path)


def _evaluated(run: RunFolder) -> Comparison:
    metrics = run.metrics()
    if metrics is None and run.config()["method"]["name"] != "full":
        raise ValueError(f"{run.path} is not evaluated: metrics.json is missing; run it again with stage=evaluate")
    reference = run if metrics is None else RunFolder(run.path.parent / metrics["reference"])
    if not reference.is_done:
        raise ValueError(
            f"{run.path} was evaluated against {reference.path}, which is not there; copy it beside the run"
        )
    return Comparison(run, reference, run.config()["label"])

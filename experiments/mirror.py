"""Mirror a finished run to the tracker: configuration, numbers, pictures."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from eval.row import row_from_run
from experiments.comparison import Comparison
from meancache.config import RunConfig
from meancache.tracking import Tracker, start

log = logging.getLogger(__name__)

NUMBERS = ("nfe", "flops", "denoiser_flops", "denoise_seconds", "total_seconds", "speedup", "peak_memory_mib")
MOST_SAMPLES = 16


@contextmanager
def tracker_of(config: RunConfig) -> Iterator[Tracker]:
    """The tracker for this job: opened before the work, so that a wrong setting shows at once."""
    named = replace(config.tracking, name=config.tracking.name or config.label)
    tracker = start(named, folder=Path(config.output) / "tracking")
    try:
        tracker.log_config(config.resolved)
        yield tracker
    finally:
        tracker.finish()


def report(tracker: Tracker, comparison: Comparison) -> None:
    """Tell the tracker what the run gave. It is only a mirror: if that fails, the run stands all the same."""
    try:
        _report(tracker, comparison)
    except Exception:
        log.warning("the tracker was not told of %s", comparison.run.path, exc_info=True)


def _report(tracker: Tracker, comparison: Comparison) -> None:
    row = asdict(row_from_run(comparison.run, comparison.reference))
    scores = {name: value for name, value in row["metrics"].items() if value is not None}
    tracker.log_metrics({name: row[name] for name in NUMBERS if row[name] is not None} | scores)
    run, records = comparison.run, comparison.run.records()[:MOST_SAMPLES]
    tracker.log_samples([(run.to_look_at(record), f"{record.prompt} (seed {record.seed})") for record in records])
    for name in ("grid", "plan"):
        picture = run.path / f"{name}.png"
        if picture.exists():
            tracker.log_picture(name, picture)

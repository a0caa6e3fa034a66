"""Mirror finished runs and sweeps to the tracker: configuration, numbers, samples, pictures."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from eval.row import Row, row_from_run
from experiments.comparison import Comparison
from meancache.artifacts import content_hash, make_folder, write_atomic
from meancache.config import RunConfig, TrackingConfig
from meancache.run_folder import Record
from meancache.tracking import Cell, Tracker, start

log = logging.getLogger(__name__)

NUMBERS = ("nfe", "flops", "denoiser_flops", "denoise_seconds", "total_seconds", "speedup", "peak_memory_mib")
MOST_SAMPLES = 256  # with pictures; a page that loads more is of no use
GROUP = "group"  # a sweep leaves its name in its folder, for its jobs


@contextmanager
def tracker_of(config: RunConfig, sweep: Path | None) -> Iterator[Tracker]:
    """The tracker for this job: opened before the work, so that a wrong setting shows at once.

    Args:
        config: the job's.
        sweep: folder of the sweep that the job belongs to, if to one; its jobs are one group.
    """
    group = config.tracking.group or (group_of(sweep) if sweep else None)
    named = replace(config.tracking, name=config.tracking.name or config.label, group=group)
    tracker = start(named, folder=Path(config.output) / "tracking", identity=_identity(config), kind="run")
    try:
        tracker.log_config(config.resolved)
        yield tracker
    finally:
        tracker.finish()


def _identity(config: RunConfig) -> str:
    """The same for the same job typed again: of all that decides its samples, and where they lie.

    Not the run folder's name, which waits for the plan where a method follows one.
    """
    kept = ("model", "method", "prompts", "seeds", "calibrate", "runtime", "shard")
    settings = {key: value for key, value in asdict(config).items() if key in kept}
    name = content_hash(settings | {"output": str(Path(config.output).resolve())})
    return f"{config.model.name}-{config.method['name']}-{name}"


def name_group(sweep: Path, experiment: str | None, overrides: Sequence[str], output: str) -> None:
    """Name the group of a sweep's jobs; the same sweep typed again has the same name."""
    told = sorted(override for override in overrides if not override.startswith("tracking"))
    name = content_hash([told, str(Path(output).resolve())])
    write_atomic(make_folder(sweep) / GROUP, f"{experiment or 'sweep'}-{name}")


def group_of(sweep: Path) -> str | None:
    path = sweep / GROUP
    return path.read_text() if path.exists() else None


def report(tracker: Tracker, comparison: Comparison) -> None:
    """Tell the tracker what the run gave. It is only a mirror: if that fails, the run stands all the same."""
    _try(lambda: _report(tracker, comparison), f"{comparison.run.path}")


def report_sweep(settings: DictConfig, rows: Sequence[Row], folder: Path, output: str) -> None:
    """Tell the tracker of a whole sweep: one run that holds its table and pictures. Only a mirror, as above."""
    _try(lambda: _report_sweep(settings, rows, folder, output), f"{folder}")


def _try(tell: Callable[[], None], what: str) -> None:
    try:
        tell()
    except Exception:
        log.warning("the tracker was not told of %s", what, exc_info=True)


def _report(tracker: Tracker, comparison: Comparison) -> None:
    row = row_from_run(comparison.run, comparison.reference)
    tracker.log_metrics(_numbers(row))
    tracker.log_table("samples", _samples(comparison, row))
    _log_pictures(tracker, comparison.run.path, ("grid", "plan"))


def _report_sweep(settings: DictConfig, rows: Sequence[Row], folder: Path, output: str) -> None:
    config = TrackingConfig(**OmegaConf.to_container(settings))  # type: ignore[arg-type]
    group = config.group or group_of(folder) or folder.name
    named = replace(config, group=group, name=f"{config.name or group}: table")
    tracker = start(named, folder=Path(output) / "tracking", identity=f"{group}-table", kind="sweep")
    try:
        tracker.log_table("results", [{"method": row.label, "model": row.model, **_numbers(row)} for row in rows])
        _log_pictures(tracker, folder, sorted(path.stem for path in folder.glob("*.png")))
    finally:
        tracker.finish()


def _numbers(row: Row) -> dict[str, float]:
    """Every number of a row, with the ends of its intervals and the means of the worst samples."""
    costs = {name: getattr(row, name) for name in (*NUMBERS, "speedup_low", "speedup_high")}
    ends = {
        f"{name}_{end}": bounds[k] for name, bounds in row.intervals.items() for k, end in enumerate(("low", "high"))
    }
    worst = {f"{name}_worst": value for name, value in row.worst.items()}
    known = costs | dict(row.metrics) | ends | worst
    return {name: value for name, value in known.items() if value is not None}


def _samples(comparison: Comparison, row: Row) -> list[dict[str, Cell]]:
    """Each sample with its scores, beside the reference's."""
    run, reference = comparison.run, comparison.reference
    pairs = run.pairs(reference)
    if len(pairs) > MOST_SAMPLES:
        log.info("the tracker is told of %d of %d samples, spread evenly", MOST_SAMPLES, len(pairs))
        pairs = [pairs[k * len(pairs) // MOST_SAMPLES] for k in range(MOST_SAMPLES)]

    def told(record: Record, other: Record) -> dict[str, Cell]:
        scores = {name: known[record.sample] for name, known in row.samples.items()}
        pictures: dict[str, Cell] = {"sample": run.to_look_at(record)}
        if run != reference:
            pictures["reference"] = reference.to_look_at(other)
        return {"prompt": record.prompt, "seed": record.seed, **scores, **pictures}

    return [told(record, other) for record, other in pairs]


def _log_pictures(tracker: Tracker, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if (picture := folder / f"{name}.png").exists():
            tracker.log_picture(name, picture)

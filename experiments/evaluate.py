"""The evaluate stage: scores a finished run against its reference run, into metrics.json.

A score that is already there is kept if it was computed in the same way, its provenance, from the same records.
"""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from eval.metric import Batch, Metric, MetricUnavailable, RunMetric, RunScore, SampleMetric
from meancache.progress import progress_bar
from meancache.run_folder import Record, RunFolder

log = logging.getLogger(__name__)

Pair = tuple[Record, Record]


def evaluate(
    run: RunFolder, reference: RunFolder, metrics: Sequence[Metric], batch_size: int = 16, *, device: str = "cpu"
) -> dict[str, Any]:
    """Score a run against its reference and write <run>/metrics.json.

    Args:
        run: finished run.
        reference: finished run with the same prompts and seeds. ``run`` itself is not compared with itself,
            but scored where no reference is needed.
        metrics: what to compute, see ``eval.metrics.choose_metrics``.
        batch_size: pictures, or frames of videos, scored at once (at least one video); no score depends on it.
        device: where they are scored.

    Returns:
        The content of metrics.json. A metric that cannot be computed here has value None and says why.

    Raises:
        ValueError: an unfinished run, runs that do not match, or a damaged picture.
        MetricFailed: a metric broke; the scores of the others are written.
    """
    pairs = run.pairs(reference)
    if run == reference:
        metrics = [metric for metric in metrics if not metric.needs_reference]
        if not metrics:
            log.info("%s is the reference run: there is nothing to compare it with", run.name)
    origin = {
        "reference": reference.name,
        "records": {"run": run.hash_records(), "reference": reference.hash_records()},
    }
    known = _known_scores(run, origin)
    fresh = [metric for metric in metrics if not _is_current(metric, known.get(metric.name))]
    if len(fresh) < len(metrics):
        kept = [metric.name for metric in metrics if metric not in fresh]
        log.info("%s: kept %s, computed before from the same records", run.name, ", ".join(kept))
    entries, failures = _score(fresh, pairs, run, reference, batch_size, device)
    content = origin | {"metrics": known | entries}
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    if content != run.metrics():
        run.write("metrics.json", text)
    if failures:
        raise MetricFailed(run.name, failures)
    return content


class MetricFailed(ValueError):
    """Metrics that broke, though they should have worked; what the others gave is kept."""

    def __init__(self, run: str, failures: Mapping[str, Exception]) -> None:
        told = "; ".join(f"{name}: {type(error).__name__}: {error}" for name, error in failures.items())
        super().__init__(f"{run}: metrics failed, the others are written. {told}")


@dataclass
class _Attempts:
    """Metrics that are tried one by one: what broke, or cannot be computed, costs no other metric its scores."""

    run: str
    entries: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)

    def attempt(self, metric: Metric, compute: Callable[[], Any]) -> Any:
        """What a metric computes, or None if it breaks; one that broke before is not tried again."""
        if metric.name in self.entries or metric.name in self.failures:
            return None
        try:
            return compute()
        except MetricUnavailable as error:
            log.warning("%s: no %s: %s", self.run, metric.label, error)
            self.entries[metric.name] = _unavailable(str(error))
        except Exception as error:
            self.failures[metric.name] = error
        return None


def _score(
    metrics: Sequence[Metric],
    pairs: Sequence[Pair],
    run: RunFolder,
    reference: RunFolder,
    batch_size: int,
    device: str,
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Entries of metrics.json, and what broke, by name of the metric."""
    attempts = _Attempts(run.name, {metric.name: _unavailable(why) for metric in metrics if (why := metric.missing())})
    ready = [metric for metric in metrics if metric.name not in attempts.entries]
    of_samples = [metric for metric in ready if isinstance(metric, SampleMetric)]
    scores: dict[str, list[float]] = {metric.name: [] for metric in of_samples}
    batch_size = max(1, batch_size // (pairs[0][0].num_frames or 1))
    batches = _batches(pairs, run, reference, batch_size, device) if of_samples else ()
    for batch in progress_bar(batches, description="evaluate", total=math.ceil(len(pairs) / batch_size)):
        for metric in of_samples:
            scores[metric.name] += attempts.attempt(metric, partial(_checked_scores, metric, batch)) or []
    names = [record.sample for record, _ in pairs]
    for metric in of_samples:
        metric.release()
        if len(scores[metric.name]) == len(names):
            notes = metric.notes([record.prompt for record, _ in pairs])
            attempts.entries[metric.name] = _entry(metric, dict(zip(names, scores[metric.name])), notes)
    for whole in (metric for metric in ready if isinstance(metric, RunMetric)):
        if found := attempts.attempt(whole, partial(whole.score_run, run, device)):
            attempts.entries[whole.name] = _run_entry(whole, found, len(names))
    return attempts.entries, attempts.failures


def _checked_scores(metric: SampleMetric, batch: Batch) -> list[float]:
    scores: list[float] = metric.score(batch).tolist()
    if len(scores) != len(batch.prompts) or any(math.isnan(score) for score in scores):
        raise ValueError(f"gave {scores} for {len(batch.prompts)} samples")
    return scores


def _unavailable(reason: str) -> dict[str, Any]:
    return {"value": None, "n": 0, "unavailable": reason}


def _run_entry(metric: Metric, score: RunScore, count: int) -> dict[str, Any]:
    """What a metric of a whole run gave, as metrics.json holds it."""
    return {"n": count, "provenance": metric.provenance()} | asdict(score)


def _batches(
    pairs: Sequence[Pair], run: RunFolder, reference: RunFolder, batch_size: int, device: str
) -> Iterator[Batch]:
    import torch

    for start in range(0, len(pairs), batch_size):
        some = pairs[start : start + batch_size]
        yield Batch(
            torch.stack([run.load(record) for record, _ in some]).to(device),
            torch.stack([reference.load(record) for _, record in some]).to(device),
            tuple(record.prompt for record, _ in some),
            tuple(record for record, _ in some),
        )


def _entry(metric: Metric, scores: dict[str, float], notes: Sequence[str]) -> dict[str, Any]:
    """The mean over the finite scores; an infinite one is the PSNR of an identical pair, left out and counted."""
    finite = [score for score in scores.values() if math.isfinite(score)]
    left_out = len(scores) - len(finite)
    return {
        "value": sum(finite) / len(finite) if finite else "inf",
        "n": len(scores),
        **({"identical": left_out} if left_out else {}),
        "per_sample": {name: score if math.isfinite(score) else "inf" for name, score in scores.items()},
        "provenance": metric.provenance(),
        **({"notes": list(notes)} if notes else {}),
    }


def _known_scores(run: RunFolder, origin: dict[str, Any]) -> dict[str, Any]:
    """Scores of an earlier evaluation of the same records."""
    content = run.metrics()
    if content is None or any(content[key] != value for key, value in origin.items()):
        return {}
    return dict(content["metrics"])


def _is_current(metric: Metric, entry: Mapping[str, Any] | None) -> bool:
    """Whether a score was computed as it would be now, or cannot be computed for the reason that it could not be.

    A score that lacks a part is tried again: a worker does only what it has not done yet.
    """
    if entry is None:
        return False
    if "unavailable" in entry:
        return bool(entry["unavailable"] == metric.missing())
    return entry["value"] is not None and bool(entry.get("provenance") == metric.provenance())

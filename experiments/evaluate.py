"""The evaluate stage: scores a finished run against its reference run, into metrics.json.

A score that is already there is kept if it was computed in the same way, its provenance, from the same records.
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.metrics import Batch, Metric, find_metrics
from meancache.progress import progress_bar
from meancache.run_folder import Record, RunFolder

log = logging.getLogger(__name__)

Pair = tuple[Record, Record]


def evaluate(
    run: RunFolder, reference: RunFolder, metrics: Sequence[str], batch_size: int = 16, *, device: str = "cpu"
) -> dict[str, Any]:
    """Score a run against its reference and write <run>/metrics.json.

    Args:
        run: finished run.
        reference: finished run with the same prompts and seeds. ``run`` itself is not compared with itself,
            but scored where no reference is needed.
        metrics: names out of ``eval.metrics.METRICS``.
        batch_size: pictures, or frames of videos, scored at once (at least one video); no score depends on it.
        device: where they are scored.

    Returns:
        The content of metrics.json. A metric that cannot be computed here has value None and says why.

    Raises:
        ValueError: an unknown metric, an unfinished run, runs that do not match, or a damaged picture.
    """
    wanted = find_metrics(metrics)
    pairs = run.pairs(reference)
    if run == reference:
        wanted = [metric for metric in wanted if not metric.needs_reference]
        if not wanted:
            log.info("%s is the reference run: there is nothing to compare it with", run.name)
    origin = {
        "reference": reference.name,
        "records": {"run": run.hash_records(), "reference": reference.hash_records()},
    }
    known = _known_scores(run, origin)
    fresh = [metric for metric in wanted if not _is_current(metric, known.get(metric.name))]
    if len(fresh) < len(wanted):
        kept = [metric.name for metric in wanted if metric not in fresh]
        log.info("%s: kept %s, computed before from the same records", run.name, ", ".join(kept))
    if fresh:
        known |= _score(fresh, pairs, run, reference, batch_size, device)
    content = origin | {"metrics": known}
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    if content != run.metrics():
        run.write("metrics.json", text)
    return content


def _score(
    metrics: Sequence[Metric],
    pairs: Sequence[Pair],
    run: RunFolder,
    reference: RunFolder,
    batch_size: int,
    device: str,
) -> dict[str, Any]:
    from eval.perceptual import MetricUnavailable

    scores: dict[str, list[float]] = {metric.name: [] for metric in metrics}
    unavailable: dict[str, str] = {}
    batch_size = max(1, batch_size // (pairs[0][0].num_frames or 1))
    num_batches = math.ceil(len(pairs) / batch_size)
    for batch in progress_bar(
        _batches(pairs, run, reference, batch_size, device), description="evaluate", total=num_batches
    ):
        for metric in metrics:
            if metric.name in unavailable:
                continue
            try:
                scores[metric.name] += metric.score(batch).tolist()
            except MetricUnavailable as error:
                log.warning("%s: no %s: %s", run.name, metric.label, error)
                unavailable[metric.name] = str(error)
    names = [record.sample for record, _ in pairs]
    return {
        metric.name: {"value": None, "n": 0, "unavailable": unavailable[metric.name]}
        if metric.name in unavailable
        else _entry(metric, dict(zip(names, scores[metric.name], strict=True)))
        for metric in metrics
    }


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
        )


def _entry(metric: Metric, scores: dict[str, float]) -> dict[str, Any]:
    """The mean over the finite scores; an infinite one is the PSNR of an identical pair, left out and counted."""
    assert not any(math.isnan(score) for score in scores.values()), f"{metric.name} gave NaN"
    finite = [score for score in scores.values() if math.isfinite(score)]
    left_out = len(scores) - len(finite)
    return {
        "value": sum(finite) / len(finite) if finite else "inf",
        "n": len(scores),
        **({"identical": left_out} if left_out else {}),
        "per_sample": {name: score if math.isfinite(score) else "inf" for name, score in scores.items()},
        "provenance": metric.provenance(),
    }


def _known_scores(run: RunFolder, origin: dict[str, Any]) -> dict[str, Any]:
    """Scores of an earlier evaluation of the same records."""
    content = run.metrics()
    if content is None or any(content[key] != value for key, value in origin.items()):
        return {}
    return dict(content["metrics"])


def _is_current(metric: Metric, entry: Mapping[str, Any] | None) -> bool:
    """Whether a score was computed as it would be now, or cannot be computed for the reason that it could not be."""
    if entry is None:
        return False
    if "unavailable" in entry:
        return bool(entry["unavailable"] == metric.unavailable())
    return bool(entry.get("provenance") == metric.provenance())

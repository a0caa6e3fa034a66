"""One row of a results table: what a finished and evaluated run folder says about itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import yaml

from eval.metrics import METRICS
from eval.samples import Record, hash_records, read_metrics, read_records


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        label: what the method is called in the table, with its settings.
        method: name of the method.
        model: name of the model.
        num_samples: pictures or videos in the run.
        nfe: mean number of computed steps.
        denoise_seconds: median time of the denoising loop, per sample.
        total_seconds: median time of everything, per sample.
        speedup: the reference's denoise_seconds / this one's; 1 for the reference.
        peak_memory_mib: highest peak memory of a sample, MiB.
        flops: mean TFLOPs of a sample, text encoders and VAE included; None where they are not known.
        denoiser_flops: of the denoiser alone.
        metrics: score by metric name; None where the metric could not be computed.
        scorers: what computed each score, by metric name.
        reference: whether this is the run that the others are compared with.
        paper: a paper's values for this row, by field or metric name.
        notes: what a reader must know about this row.
    """

    label: str
    method: str
    model: str
    num_samples: int
    nfe: float
    denoise_seconds: float
    total_seconds: float
    speedup: float
    peak_memory_mib: float
    flops: float | None
    denoiser_flops: float | None
    metrics: Mapping[str, float | None]
    scorers: Mapping[str, str] = field(default_factory=dict)
    reference: bool = False
    paper: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def row_from_run(
    run: Path, reference: Path | None = None, *, label: str | None = None, metrics: Sequence[str] | None = None
) -> Row:
    """The row of a finished run.

    Args:
        run: run folder.
        reference: run folder it was evaluated against; None, or ``run``, when it is the reference itself.
        label: what to call it, else the label it was first made with.
        metrics: scores to show, else all there are.

    Raises:
        ValueError: the run is unfinished, or not evaluated against this reference as both are now.
    """
    if reference == run:
        reference = None
    records = read_records(run)
    config = _config(run)
    denoise = _median_seconds(records, "denoise")
    entries = _entries(run, reference or run) if reference or read_metrics(run) else {}
    entries = {name: entry for name, entry in entries.items() if metrics is None or name in metrics}
    notes: list[str] = []
    speedup = 1.0
    if reference is not None:
        speedup = _median_seconds(read_records(reference), "denoise") / denoise
        notes = [*config["notes"], *_score_notes(entries), *_timing_notes(run, reference)]
    return Row(
        label=label or config["label"],
        method=config["method"],
        model=config["model"],
        num_samples=len(records),
        nfe=fmean(record.nfe for record in records),
        denoise_seconds=denoise,
        total_seconds=_median_seconds(records, "total"),
        speedup=speedup,
        peak_memory_mib=max(record.peak_memory_mib for record in records),
        flops=_mean_tflops(records, "pipeline"),
        denoiser_flops=_mean_tflops(records, "denoiser"),
        metrics={name: None if entry["value"] is None else float(entry["value"]) for name, entry in entries.items()},
        scorers={name: entry["scorer"] for name, entry in entries.items() if "scorer" in entry},
        reference=reference is None,
        notes=tuple(notes),
    )


def _median_seconds(records: list[Record], part: str) -> float:
    return median(record.seconds[part] for record in records)


def _mean_tflops(records: list[Record], part: str) -> float | None:
    found = [None if record.flops is None else record.flops[part] for record in records]
    known = [flops for flops in found if flops is not None]
    return fmean(known) / 1e12 if len(known) == len(found) else None


def _config(run: Path) -> dict[str, Any]:
    """The label of a run, the names of its method and model, and what its settings make worth knowing."""
    path = run / "config.yaml"
    try:
        content = yaml.safe_load(path.read_text())
        notes = []
        if content.get("match_nfe") and content["model"].get("thresholds") == "searched":
            notes.append(f"threshold searched for {content['match_nfe']:g} computed steps")
        names = {key: content[key]["name"] for key in ("method", "model")}
        return {"label": content["label"], "notes": notes} | names
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} does not name label, method.name and model.name: {error!r}") from error


def _entries(run: Path, reference: Path) -> dict[str, dict[str, Any]]:
    """The metrics of metrics.json, after checking that they are of this run and this reference as they are now."""
    content = read_metrics(run)
    if content is None:
        raise ValueError(f"{run} is not evaluated: metrics.json is missing; run it again with stage=evaluate")
    origin = (reference.name, {"run": hash_records(run), "reference": hash_records(reference)})
    if (content["reference"], content["records"]) != origin:
        raise ValueError(
            f"{run}/metrics.json was computed against {content['reference']} from other records than those of {run} "
            f"and {reference}; run it again with stage=evaluate"
        )
    return content["metrics"]


def _score_notes(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is missing or left out of the scores."""
    notes = []
    for name, entry in entries.items():
        label = METRICS[name].label
        if "unavailable" in entry:
            notes.append(f"{label} is n/a: {entry['unavailable']}")
        if "identical" in entry:
            notes.append(
                f"{label} leaves out {entry['identical']} of {entry['n']} pictures, identical to the reference"
            )
    return notes


def _timing_notes(run: Path, reference: Path) -> list[str]:
    """What makes the two latencies hard to compare: other batches or other hardware."""
    notes = []
    sizes, answers = ({record.batch_size for record in read_records(folder)} for folder in (run, reference))
    if sizes != answers:
        notes.append(f"timed in batches of {_listed(sizes)}, the reference in batches of {_listed(answers)}")
    here, there = ({record.device for record in read_records(folder)} for folder in (run, reference))
    if here != there:
        notes.append(
            f"timed on {_listed(here)}, the reference on {_listed(there)}: the speedup compares the machines as well"
        )
    return notes


def _listed(values: Iterable[int | str]) -> str:
    return " and ".join(str(value) for value in sorted(values))

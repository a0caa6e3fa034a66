"""One row of a results table: what a finished and evaluated run folder says about itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from eval.metric import SampleMetric
from eval.metrics import METRICS
from eval.speedup import median_seconds, speedup_of
from eval.statistics import Scores, difference, estimate, winner, worst
from eval.weights import WHERE
from meancache.run_folder import Record, RunFolder

Gaps = dict[str, tuple[float, float, float]]  # mean difference and the ends of its interval, by metric name


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        label: what the method is called in the table, with its settings.
        method: name of the method.
        model: name of the model.
        num_samples: pictures or videos in the run.
        nfe: mean number of computed steps.
        denoise_seconds: median time of the denoising loop, per sample; None where it was not timed.
        total_seconds: median time of everything, per sample, likewise.
        speedup: how many times faster the denoising loop is than the reference's, by calls timed in turns; 1 for the
            reference, None where it was not timed.
        peak_memory_mib: highest peak memory of a sample, MiB.
        flops: mean TFLOPs of a sample, text encoders and VAE included; None where they are not known.
        denoiser_flops: of the denoiser alone.
        metrics: score by metric name; None where the metric could not be computed.
        provenance: what computed each score, by metric name.
        reference: whether this is the run that the others are compared with.
        speedup_low: lower end of the speed-up's interval.
        speedup_high: its upper end.
        limit: the speed-up if all that is not a computed step took no time: steps of the reference / ``nfe``. None for
            another denoiser than the reference's, whose steps cost what they cost.
        paper: a paper's values for this row, by field or metric name.
        notes: what a reader must know about this row.
        run: name of the run folder.
        against: name of the reference's run folder; "" for the reference itself.
        num_prompts: different prompts among the samples; intervals are over them.
        intervals: lower and upper end of each mean score's 95 % interval, by metric name.
        worst: mean of the worst 5 % of the samples, by metric name.
        wins: metrics in which the row is better than every other of its table by more than the noise.
        differences: by how much its scores lie above those of the row it is compared with: mean, lower and upper end.
        from_reference: by how much its scores lie above the reference's, where that has them, likewise.
        samples: score of every sample, by metric name and sample. Tables do not keep them.
    """

    label: str
    method: str
    model: str
    num_samples: int
    nfe: float
    denoise_seconds: float | None
    total_seconds: float | None
    speedup: float | None
    peak_memory_mib: float
    flops: float | None
    denoiser_flops: float | None
    metrics: Mapping[str, float | None]
    provenance: Mapping[str, str] = field(default_factory=dict)
    reference: bool = False
    speedup_low: float | None = None
    speedup_high: float | None = None
    limit: float | None = None
    paper: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    run: str = ""
    against: str = ""
    num_prompts: int = 0
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    worst: Mapping[str, float] = field(default_factory=dict)
    wins: tuple[str, ...] = ()
    differences: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    from_reference: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    samples: Mapping[str, Scores] = field(default_factory=dict, repr=False, compare=False)

    @property
    def interval(self) -> str | None:
        """Of the speed-up, in words."""
        return None if self.speedup_low is None else f"{self.speedup_low:.2f} to {self.speedup_high:.2f}"

    @property
    def beyond_limit(self) -> bool:
        """Whether the speed-up is more than the computed steps allow: then the timing, not the method, was lucky."""
        return None not in (self.speedup, self.limit) and round(self.speedup, 2) > round(self.limit, 2)  # type: ignore


def row_from_run(
    run: RunFolder,
    reference: RunFolder | None = None,
    *,
    label: str | None = None,
    metrics: Sequence[str] | None = None,
    paper: Mapping[str, float] | None = None,
) -> Row:
    """The row of a finished run.

    Args:
        run: the run.
        reference: the run it was evaluated against; None, or ``run``, when it is the reference itself.
        label: what to call it, else the label it was first made with.
        metrics: scores to show, else all there are.
        paper: a paper's values for this run.

    Raises:
        ValueError: the run is unfinished, or not evaluated against this reference as both are now.
    """
    if reference == run:
        reference = None
    records, config = run.records(), run.config()
    entries = _entries(run, reference or run) if reference or run.metrics() else {}
    shown = METRICS if metrics is None else metrics  # a score of another version's metric is none of ours
    entries = {name: entry for name, entry in entries.items() if name in METRICS and name in shown}
    notes = [*_config_notes(config), *_score_notes(entries)] if reference else []
    notes += dict.fromkeys(note for record in records for note in record.notes)
    samples = {name: _floats(entry["per_sample"]) for name, entry in entries.items() if _is_mean(name, entry)}
    provenance = _provenance(entries)
    sure = {name: found for name, scores in samples.items() if (found := estimate(scores))}
    times, time_notes = _times(run, reference, config["model"]["name"], fmean(record.nfe for record in records))
    return Row(
        label=label or config["label"],
        method=config["method"]["name"],
        model=config["model"]["name"],
        num_samples=len(records),
        nfe=fmean(record.nfe for record in records),
        peak_memory_mib=max(record.peak_memory_mib for record in records),
        flops=_mean_tflops(records, "pipeline"),
        denoiser_flops=_mean_tflops(records, "denoiser"),
        metrics={name: None if entry["value"] is None else float(entry["value"]) for name, entry in entries.items()},
        provenance=provenance,
        reference=reference is None,
        paper=paper or {},
        notes=(*notes, *time_notes),
        run=run.name,
        against=reference.name if reference else "",
        num_prompts=len({record.prompt_index for record in records}),
        intervals={name: (found.low, found.high) for name, found in sure.items()},
        worst={name: value for name, scores in samples.items() if (value := _worst(name, scores)) is not None},
        from_reference=_from_reference(samples, provenance, reference),
        samples=samples,
        **times,
    )


def compared(rows: Sequence[Row], with_label: str | None = None) -> list[Row]:
    """The rows of a table, each with the metrics it wins and its differences from the row of a label.

    Raises:
        ValueError: no row, or more than one, has this label or a label with it as a part; or no row can be compared.
    """
    other = None if with_label is None else find_row(rows, with_label)
    wins = {name: _winner(rows, name) for name in METRICS}
    result = []
    for index, row in enumerate(rows):
        won = tuple(name for name, best in wins.items() if best == index)
        result.append(replace(row, wins=won, differences=_differences(row, other) if other else {}))
    if other and not any(row.differences for row in result):
        raise ValueError(f"compare={with_label!r}: no other row has a score in common with {other.label!r}")
    return result


def _winner(rows: Sequence[Row], name: str) -> int | None:
    having = [index for index, row in enumerate(rows) if name in row.samples and not row.reference]
    if len({(rows[index].against, rows[index].provenance.get(name)) for index in having}) > 1:
        return None  # other prompts, another model's pictures, or scores computed in another way
    best = winner([rows[index].samples[name] for index in having], higher_is_better=METRICS[name].higher_is_better)
    return None if best is None else having[best]


def _differences(row: Row, other: Row) -> Gaps:
    if row is other or (row.against or row.run) != (other.against or other.run):
        return {}
    return _gaps(row.samples, other.samples, row.provenance, other.provenance)


def notes_of(rows: Sequence[Row]) -> list[str]:
    """The notes of all rows, each once, with whom it is about unless it is about all but the reference."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            about.setdefault(note, []).append(row.label)
    compared = [row.label for row in rows if not row.reference]
    return [note if labels == compared else f"{', '.join(labels)}: {note}" for note, labels in about.items()]


def find_row(rows: Sequence[Row], label: str) -> Row:
    """The row of this label, or with it as a part of its label.

    Raises:
        ValueError: there is none, or more than one.
    """
    found = [row for row in rows if row.label == label] or [row for row in rows if label.lower() in row.label.lower()]
    if len(found) != 1:
        what = "no row" if not found else f"{len(found)} rows"
        raise ValueError(f"compare={label!r} fits {what}; the labels are: {'; '.join(row.label for row in rows)}")
    return found[0]


def _from_reference(samples: Mapping[str, Scores], provenance: Mapping[str, str], reference: RunFolder | None) -> Gaps:
    """How far scores that need no reference lie above the reference's own."""
    if reference is None or reference.metrics() is None:
        return {}
    found = _entries(reference, reference).items()
    entries = {name: entry for name, entry in found if name in METRICS and _is_mean(name, entry)}
    others = {name: _floats(entry["per_sample"]) for name, entry in entries.items()}
    return _gaps(samples, others, provenance, _provenance(entries))


def _provenance(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: entry["provenance"] for name, entry in entries.items() if "provenance" in entry}


def _gaps(
    samples: Mapping[str, Scores],
    others: Mapping[str, Scores],
    provenance: Mapping[str, str],
    other_provenance: Mapping[str, str],
) -> Gaps:
    """Differences of the scores that both have and that were computed in the same way."""
    same = [name for name in samples if name in others and provenance.get(name) == other_provenance.get(name)]
    found = {name: difference(samples[name], others[name]) for name in same}
    return {name: (gap.mean, gap.low, gap.high) for name, gap in found.items() if gap}


def _is_mean(name: str, entry: Mapping[str, Any]) -> bool:
    return "per_sample" in entry and isinstance(METRICS[name], SampleMetric)


def _floats(scores: Mapping[str, Any]) -> dict[str, float]:
    return {sample: float(score) for sample, score in scores.items()}


def _worst(name: str, scores: Scores) -> float | None:
    return worst(scores, higher_is_better=METRICS[name].higher_is_better)


def reference_seconds(runs: Iterable[RunFolder], reference: RunFolder) -> list[Mapping[str, float]]:
    """Every timing of a reference in the pairs of these runs; its own where it was timed alone."""
    timings = [timing for run in runs if (timing := run.timing()) and timing["reference"] == reference.name]
    seconds = [entry for timing in timings for entry in timing["seconds"].get("reference", [])]
    own = reference.timing()
    return seconds or (own["seconds"]["run"] if own else [])


def _times(run: RunFolder, reference: RunFolder | None, model: str, nfe: float) -> tuple[dict[str, Any], list[str]]:
    """Fields of a row about time, and what must be known of them."""
    timing = run.timing()
    seconds = timing["seconds"]["run"] if timing else []
    fields: dict[str, Any] = {
        "denoise_seconds": median_seconds(seconds, "denoise"),
        "total_seconds": median_seconds(seconds, "total"),
    }
    if reference is None:
        return fields | {"speedup": 1.0}, []
    config = reference.config()["model"]
    if config["name"] == model:
        fields["limit"] = fmean(record.nfe for record in reference.records()) / nfe
    if timing is None or timing["reference"] != reference.name:
        return fields | {"speedup": None}, ["not timed: run stage=time with timing.pairs of at least 1"]
    both = ([entry["denoise"] for entry in timing["seconds"][name]] for name in ("reference", "run"))
    speedup = speedup_of(*both)
    fields |= {"speedup": speedup.median, "speedup_low": speedup.low, "speedup_high": speedup.high}
    notes = [f"speed-up of the denoising loop: median of {speedup.num_pairs} ratios, timed in turns with the reference"]
    if not timing["interleaved"]:
        notes = ["timed after its reference, not in turns: with offload two denoisers cannot be kept loaded"]
    return fields, notes


def _mean_tflops(records: list[Record], part: str) -> float | None:
    known = [record.flops[part] for record in records if record.flops is not None]
    return fmean(known) / 1e12 if len(known) == len(records) else None


def _config_notes(config: Mapping[str, Any]) -> list[str]:
    """What of the settings a reader must know."""
    if config.get("match_nfe") and config["model"].get("thresholds") == "searched":
        return [f"threshold searched for {config['match_nfe']:g} computed steps"]
    return []


def _entries(run: RunFolder, reference: RunFolder) -> dict[str, dict[str, Any]]:
    """The metrics of metrics.json, after checking that they are of this run and this reference as they are now."""
    content = run.metrics()
    if content is None:
        raise ValueError(f"{run.path} is not evaluated: metrics.json is missing; run it again with stage=evaluate")
    origin = (reference.name, {"run": run.hash_records(), "reference": reference.hash_records()})
    if (content["reference"], content["records"]) != origin:
        raise ValueError(
            f"{run.path}/metrics.json was computed against {content['reference']} from other records than those of "
            f"{run.path} and {reference.path}; run it again with stage=evaluate"
        )
    return content["metrics"]


def _score_notes(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is missing or left out of the scores."""
    reasons = {METRICS[name].label: entry["unavailable"] for name, entry in entries.items() if "unavailable" in entry}
    weights = [reason.removesuffix(WHERE) for reason in reasons.values() if reason.endswith(WHERE)]
    notes = [f"n/a: {'; '.join(weights)}{WHERE}"] if weights else []
    notes += [f"{label} is n/a: {reason}" for label, reason in reasons.items() if not reason.endswith(WHERE)]
    for name, entry in entries.items():
        label = METRICS[name].label
        notes += entry.get("notes", ())
        if "identical" in entry:
            notes.append(
                f"{label} leaves out {entry['identical']} of {entry['n']} pictures, identical to the reference"
            )
    return notes

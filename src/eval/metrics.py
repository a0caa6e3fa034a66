"""The metrics there are, by name. A new one is a small frozen dataclass and one entry here.

Its fields are its settings: ``metrics.lpips.net=vgg`` reaches the field ``net`` of the metric named lpips. Of a video,
a distance is the mean over its frames (MeanCache, appendix A.4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

from eval import trunk

if TYPE_CHECKING:
    from torch import Tensor  # takes seconds: the names and headings of metrics do without

    from meancache.run_folder import Record, RunFolder

FRAMES_AT_ONCE = 16  # of long videos, whose features would not fit at once


class MetricUnavailable(RuntimeError):
    """A metric cannot be computed here; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Batch:
    """What a metric may look at.

    Attributes:
        images: pictures or videos of the run. (B, [T,] 3, H, W) in [0, 1]
        references: those of the reference run, same shape.
        prompts: the text of each picture, B of them.
        records: what else is known of each picture, B of them; empty where nothing is.
    """

    images: Tensor
    references: Tensor
    prompts: tuple[str, ...]
    records: tuple[Record, ...] = ()


@dataclass(frozen=True)
class RunScore:
    """What a `RunMetric` found.

    Attributes:
        value: the score of the run; None where a part of it is missing.
        parts: what it is made of, by name.
        per_sample: scores of single samples, by part and by name of the sample.
        notes: what a reader must know.
    """

    value: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    per_sample: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Metric(ABC):
    """A score of pictures or videos; the fields of its dataclass are its settings.

    Attributes:
        name: key in metrics.json and in configs.
        label: heading of its column.
        higher_is_better: which way is better.
        digits: decimals in tables.
        needs_reference: it compares; otherwise the reference run has a score too.
        media: what it can score, of "picture" and "video".
        models: beginning of the names of the models it is for; "" for all.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    digits: ClassVar[int] = 3
    needs_reference: ClassVar[bool] = True
    media: ClassVar[tuple[str, ...]] = ("picture", "video")
    models: ClassVar[str] = ""

    @abstractmethod
    def provenance(self) -> str:
        """What computes it: package, version, settings and weights, in a line."""

    def missing(self) -> str:
        """Why it cannot be computed here, in a line, without trying; "" where nothing is known to be wrong."""
        return ""

    @property
    def heading(self) -> str:
        return f"{self.label} {'↑' if self.higher_is_better else '↓'}"

    def why_not_for(self, medium: str, model: str) -> str:
        """Why it cannot score the "picture"s or "video"s of a model; "" if it can."""
        if medium not in self.media:
            return f"scores {' and '.join(self.media)}s, and {model} makes {medium}s"
        if not model.startswith(self.models):
            return f"is for the models {self.models}* alone, not for {model}"
        return ""


class SampleMetric(Metric):
    """A score of each sample; that of a run is their mean."""

    @abstractmethod
    def score(self, batch: Batch) -> Tensor:
        """Scores of a batch. (B,) Raises MetricUnavailable when they cannot be computed here."""


class RunMetric(Metric):
    """A score of a whole run that is no mean over its samples."""

    needs_reference = False

    @abstractmethod
    def score_run(self, run: RunFolder, device: str) -> RunScore:
        """The score of a finished run. Raises MetricUnavailable when it cannot be computed here."""


def mean_over_frames(distance: Any, batch: Batch) -> Tensor:
    """The mean of a distance of pictures over the frames of each sample, but for infinite ones. (B,)"""
    import torch

    both = (images.flatten(0, -4).split(FRAMES_AT_ONCE) for images in (batch.images, batch.references))
    frames = torch.cat([distance(*some) for some in zip(*both)]).view(len(batch.prompts), -1)
    finite = ~frames.isinf()  # the PSNR of an identical frame is not
    mean = frames.where(finite, 0).sum(dim=1) / finite.sum(dim=1)
    return mean.where(finite.any(dim=1), torch.inf)


@dataclass(frozen=True)
class Psnr(SampleMetric):
    """Peak signal-to-noise ratio, dB."""

    name = "psnr"
    label = "PSNR"

    def score(self, batch: Batch) -> Tensor:
        return mean_over_frames(import_module("eval.fidelity").psnr, batch)  # its packages take seconds to import

    def provenance(self) -> str:
        return f"torchmetrics {version('torchmetrics')} peak_signal_noise_ratio, data range 1, 8-bit RGB"


@dataclass(frozen=True)
class Ssim(SampleMetric):
    """Structural similarity."""

    name = "ssim"
    label = "SSIM"

    def score(self, batch: Batch) -> Tensor:
        return mean_over_frames(import_module("eval.fidelity").ssim, batch)

    def provenance(self) -> str:
        return (
            f"torchmetrics {version('torchmetrics')} structural_similarity_index_measure, Gaussian 11x11 sigma 1.5, "
            "reflected borders, data range 1, 8-bit RGB"
        )


@dataclass(frozen=True)
class StLpips(SampleMetric):
    """Shift-tolerant LPIPS, whose package holds its weights."""

    name = "st_lpips"
    label = "ST-LPIPS"
    higher_is_better = False
    digits = 4

    def score(self, batch: Batch) -> Tensor:
        return mean_over_frames(import_module("eval.perceptual").st_lpips, batch)

    def provenance(self) -> str:
        return f"stlpips_pytorch {version('stlpips_pytorch')} LPIPS, net alex, variant shift_tolerant"


@dataclass(frozen=True)
class Lpips(SampleMetric):
    """LPIPS, as the paper reports it."""

    name = "lpips"
    label = "LPIPS"
    higher_is_better = False
    digits = 4

    def score(self, batch: Batch) -> Tensor:
        return mean_over_frames(import_module("eval.perceptual").lpips, batch)

    def provenance(self) -> str:
        return f"lpips {version('lpips')} LPIPS, net alex, version 0.1, trunk {trunk.NAME}"

    def missing(self) -> str:
        return trunk.what_is_wrong()


@dataclass(frozen=True)
class TemporalFlickering(SampleMetric):
    """How steady a video is."""

    name = "temporal_flickering"
    label = "Temporal flickering"
    digits = 4
    needs_reference = False
    media = ("video",)

    def score(self, batch: Batch) -> Tensor:
        return import_module("eval.flicker").temporal_flickering(batch.images)

    def provenance(self) -> str:
        return "1 - mean |frame - next frame|, as VBench's dimension, 8-bit RGB"


METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (Psnr(), Ssim(), StLpips(), Lpips(), TemporalFlickering())
}


def find_metrics(names: Sequence[str], settings: Mapping[str, Mapping[str, Any]] | None = None) -> list[Metric]:
    """The metrics of these names, with their settings.

    Raises:
        ValueError: an unknown name; the message says the nearest one. Settings of no metric, or that a metric lacks.
    """
    settings = settings or {}
    for name in (*names, *settings):
        if name not in METRICS:
            nearest = get_close_matches(name, METRICS, n=1, cutoff=0)
            raise ValueError(f"unknown metric {name!r}: did you mean {nearest[0]!r}? There are {', '.join(METRICS)}")
    return [_with_settings(METRICS[name], settings.get(name) or {}) for name in names]


def _with_settings(metric: Metric, settings: Mapping[str, Any]) -> Metric:
    try:
        return replace(metric, **settings)  # type: ignore[type-var]
    except TypeError as error:
        known = ", ".join(metric.__dataclass_fields__) or "none"  # type: ignore[attr-defined]
        raise ValueError(f"metrics.{metric.name}: {error}; its settings: {known}") from error


def choose_metrics(
    names: Sequence[str],
    where_possible: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    medium: str,
    model: str,
) -> list[Metric]:
    """The metrics to compute for a run.

    Args:
        names: those that must be computed.
        where_possible: others, which are left out where they do not fit the run.
        settings: by metric.
        medium: "picture" or "video".
        model: name of the model.

    Raises:
        ValueError: an unknown name or setting; or a metric out of ``names`` that does not fit the run or cannot be
            computed here.
    """
    chosen = find_metrics(names, settings)
    for metric in chosen:
        if reason := metric.why_not_for(medium, model):
            raise ValueError(f"metrics.names: {metric.name} {reason}")
        if reason := metric.missing():
            raise ValueError(f"metrics.names: {metric.name} cannot be computed here: {reason}")
    others = find_metrics([name for name in where_possible if name not in names], settings)
    return [*chosen, *(metric for metric in others if not metric.why_not_for(medium, model))]

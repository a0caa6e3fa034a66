"""The metrics there are, by name. A new one is a small frozen dataclass and one entry here.

Of a video, a distance is the mean over its frames (MeanCache, appendix A.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from eval.metric import Batch, Metric, SampleMetric, check_choice, mean_over_frames
from eval.prompt_scores import ClipScore, ImageRewardScore
from eval.scene.metrics import PromptMatch, SceneClipScore, SceneReward
from eval.vbench import VBench
from eval.weights import TRUNKS, WeightFile, fetch_missing

if TYPE_CHECKING:
    from torch import Tensor  # takes seconds: the names and headings of metrics do without


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
    """Shift-tolerant LPIPS, whose package holds its weights: net "alex" or "vgg"."""

    name = "st_lpips"
    label = "ST-LPIPS"
    higher_is_better = False
    digits = 4
    net: str = "alex"

    def __post_init__(self) -> None:
        check_choice("st_lpips.net", self.net, ("alex", "vgg"))

    def score(self, batch: Batch) -> Tensor:
        return mean_over_frames(partial(import_module("eval.perceptual").st_lpips, net=self.net), batch)

    def provenance(self) -> str:
        return f"stlpips_pytorch {version('stlpips_pytorch')} LPIPS, net {self.net}, variant shift_tolerant"


@dataclass(frozen=True)
class Lpips(SampleMetric):
    """LPIPS, as the paper reports it: net "alex", "vgg" or "squeeze"."""

    name = "lpips"
    label = "LPIPS"
    higher_is_better = False
    digits = 4
    net: str = "alex"

    def __post_init__(self) -> None:
        check_choice("lpips.net", self.net, tuple(TRUNKS))

    def weights(self) -> tuple[WeightFile, ...]:
        return (TRUNKS[self.net],)

    def score(self, batch: Batch) -> Tensor:
        return mean_over_frames(partial(import_module("eval.perceptual").lpips, net=self.net), batch)

    def provenance(self) -> str:
        return f"lpips {version('lpips')} LPIPS, net {self.net}, version 0.1, trunk {TRUNKS[self.net].provenance()}"


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
    metric.name: metric
    for metric in (
        Psnr(),
        Ssim(),
        StLpips(),
        Lpips(),
        ClipScore(),
        ImageRewardScore(),
        TemporalFlickering(),
        VBench(),
        PromptMatch(),
        SceneClipScore(),
        SceneReward(),
    )
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
    *,
    download: bool = False,
) -> list[Metric]:
    """The metrics to compute for a run.

    Args:
        names: those that must be computed.
        where_possible: others, which are left out where they do not fit the run.
        settings: by metric.
        medium: "picture" or "video".
        model: name of the model.
        download: fetch weights that they lack.

    Raises:
        ValueError: an unknown name or setting; a metric out of ``names`` that does not fit the run or cannot be
            computed here; or weights that cannot be fetched.
    """
    required = find_metrics(list(dict.fromkeys(names)), settings)
    for metric in required:
        if reason := metric.why_not_for(medium, model):
            raise ValueError(f"metrics.names: {metric.name} {reason}")
    others = find_metrics([name for name in dict.fromkeys(where_possible) if name not in names], settings)
    chosen = [*required, *(metric for metric in others if not metric.why_not_for(medium, model))]
    if download:
        fetch_missing(file for metric in chosen for file in metric.weights())
    for metric in required:
        if reason := metric.missing():
            raise ValueError(f"metrics.names: {metric.name} cannot be computed here: {reason}")
    return chosen

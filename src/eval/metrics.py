"""The metrics there are, by name. A new one is one entry here.

Of a video, a distance is the mean over its frames (MeanCache, appendix A.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from eval import trunk

if TYPE_CHECKING:
    from torch import Tensor  # takes seconds: the names and headings of metrics do without

FRAMES_AT_ONCE = 16  # of long videos, whose features would not fit at once


@dataclass(frozen=True)
class Batch:
    """What a metric may look at.

    Attributes:
        images: pictures or videos of the run. (B, [T,] 3, H, W) in [0, 1]
        references: those of the reference run, same shape.
        prompts: the text of each picture, B of them.
    """

    images: Tensor
    references: Tensor
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Metric:
    """A score per picture or video.

    Attributes:
        name: key in metrics.json and in configs.
        label: heading of its column.
        higher_is_better: which way is better.
        score: the scores of a batch, (B,). Raises MetricUnavailable when it cannot be computed here.
        provenance: says what computes it, with version and settings.
        digits: decimals in tables.
        needs_reference: it compares; otherwise the reference run has a score too.
        unavailable: says why it cannot be computed here, without trying; "" where nothing is known to be wrong.
    """

    name: str
    label: str
    higher_is_better: bool
    score: Callable[[Batch], Tensor]
    provenance: Callable[[], str]
    digits: int = 3
    needs_reference: bool = True
    unavailable: Callable[[], str] = lambda: ""

    @property
    def heading(self) -> str:
        return f"{self.label} {'↑' if self.higher_is_better else '↓'}"


def _against_reference(module: str, name: str) -> Callable[[Batch], Tensor]:
    """The distance of this name, taken of every frame; its module is imported when it is first computed."""

    def score(batch: Batch) -> Tensor:
        import torch

        distance = getattr(import_module(module), name)
        both = (images.flatten(0, -4).split(FRAMES_AT_ONCE) for images in (batch.images, batch.references))
        frames = torch.cat([distance(*some) for some in zip(*both)]).view(len(batch.prompts), -1)
        finite = frames.isfinite()  # the PSNR of an identical frame is not
        mean = frames.where(finite, 0).sum(dim=1) / finite.sum(dim=1)
        return mean.where(finite.any(dim=1), torch.inf)

    return score


def _temporal_flickering(batch: Batch) -> Tensor:
    from eval.flicker import temporal_flickering

    return temporal_flickering(batch.images)


def _st_lpips() -> str:
    return f"stlpips_pytorch {version('stlpips_pytorch')} LPIPS, net alex, variant shift_tolerant"


def _lpips() -> str:
    return f"lpips {version('lpips')} LPIPS, net alex, version 0.1, trunk {trunk.NAME}"


def _torchmetrics(what: str) -> Callable[[], str]:
    return lambda: f"torchmetrics {version('torchmetrics')} {what}, data range 1, 8-bit RGB"


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "psnr", "PSNR", True, _against_reference("eval.fidelity", "psnr"), _torchmetrics("peak_signal_noise_ratio")
        ),
        Metric(
            "ssim",
            "SSIM",
            True,
            _against_reference("eval.fidelity", "ssim"),
            _torchmetrics("structural_similarity_index_measure, Gaussian 11x11 sigma 1.5, reflected borders"),
        ),
        Metric("st_lpips", "ST-LPIPS", False, _against_reference("eval.perceptual", "st_lpips"), _st_lpips, digits=4),
        Metric(
            "lpips",
            "LPIPS",
            False,
            _against_reference("eval.perceptual", "lpips"),
            _lpips,
            digits=4,
            unavailable=trunk.what_is_wrong,
        ),
        Metric(
            "temporal_flickering",
            "Temporal flickering",
            True,
            _temporal_flickering,
            lambda: "1 - mean |frame - next frame|, as VBench's dimension, 8-bit RGB",
            digits=4,
            needs_reference=False,
        ),
    )
}


def find_metrics(names: Sequence[str]) -> list[Metric]:
    """The metrics of these names.

    Raises:
        ValueError: an unknown name; the message says the nearest one.
    """
    for name in names:
        if name not in METRICS:
            nearest = get_close_matches(name, METRICS, n=1, cutoff=0)
            raise ValueError(f"unknown metric {name!r}: did you mean {nearest[0]!r}? There are {', '.join(METRICS)}")
    return [METRICS[name] for name in names]

"""What a metric is.

Its fields are its settings: ``metrics.lpips.net=vgg`` reaches the field ``net`` of the metric named lpips.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eval.weights import WeightFile, what_is_missing

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

    def weights(self) -> tuple[WeightFile, ...]:
        """Files it needs that no package holds."""
        return ()

    def missing(self) -> str:
        """Why it cannot be computed here, in a line, without trying; "" where nothing is known to be wrong."""
        return what_is_missing(self.label, self.weights())

    def paths(self) -> list[Path]:
        """Where its weights lie. Raises MetricUnavailable if one is not there or not whole."""
        if reason := self.missing():
            raise MetricUnavailable(reason)
        return [path for file in self.weights() if (path := file.find())]

    def release(self) -> None:  # noqa: B027 - most keep nothing
        """Let go of networks, whose memory would else count as that of what runs next."""

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

    def notes(self, prompts: Sequence[str]) -> tuple[str, ...]:
        """What a reader must know about the scores of samples with these prompts."""
        return ()


class RunMetric(Metric):
    """A score of a whole run that is no mean over its samples."""

    needs_reference = False

    @abstractmethod
    def score_run(self, run: RunFolder, device: str) -> RunScore:
        """The score of a finished run. Raises MetricUnavailable when it cannot be computed here."""


def check_choice(setting: str, value: str, choices: Sequence[str]) -> None:
    """Raise ValueError unless a setting has one of its values."""
    if value not in choices:
        raise ValueError(f"metrics.{setting} must be one of {', '.join(choices)}, got {value!r}")


def mean_over_frames(distance: Any, batch: Batch) -> Tensor:
    """The mean of a distance of pictures over the frames of each sample, but for infinite ones. (B,)"""
    import torch

    both = (images.flatten(0, -4).split(FRAMES_AT_ONCE) for images in (batch.images, batch.references))
    frames = torch.cat([distance(*some) for some in zip(*both)]).view(len(batch.prompts), -1)
    finite = ~frames.isinf()  # the PSNR of an identical frame is not
    mean = frames.where(finite, 0).sum(dim=1) / finite.sum(dim=1)
    return mean.where(finite.any(dim=1), torch.inf)

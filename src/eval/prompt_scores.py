"""Metrics of a picture and its prompt, without a reference: CLIP Score and ImageReward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from eval.metric import Batch, SampleMetric
from eval.weights import BERT_VOCABULARY, CLIP, IMAGE_REWARD, WeightFile
from meancache.downloads import file_checksum

if TYPE_CHECKING:
    from torch import Tensor  # takes seconds: the names and headings of metrics do without


@dataclass(frozen=True)
class ClipScore(SampleMetric):
    """CLIP Score of a model of open_clip.

    Attributes:
        architecture: name that open_clip gives it.
        pretrained: weights that ``eval.weights.CLIP`` knows, or a file of yours; None for the first known.
    """

    name = "clip_score"
    label = "CLIP Score"
    digits = 2
    needs_reference = False
    architecture: str = "ViT-bigG-14"
    pretrained: str | None = None

    def __post_init__(self) -> None:
        if self._known is None and not Path(self.pretrained or "").is_file():
            raise ValueError(
                f"metrics.clip_score.pretrained={self.pretrained} is neither a file nor the name of weights known for "
                f"architecture={self.architecture}; known are {', '.join(map(' '.join, CLIP))}"
            )

    @property
    def _known(self) -> WeightFile | None:
        known = {
            pretrained: file for (architecture, pretrained), file in CLIP.items() if architecture == self.architecture
        }
        return next(iter(known.values()), None) if self.pretrained is None else known.get(self.pretrained)

    def weights(self) -> tuple[WeightFile, ...]:
        return (self._known,) if self._known else ()

    def missing(self) -> str:
        problem = "" if self._known else import_module("eval.clip_score").what_is_wrong(self.architecture)
        return problem or super().missing()

    def score(self, batch: Batch) -> Tensor:
        (file,) = self.paths() or [Path(str(self.pretrained))]
        scorer = import_module("eval.clip_score").load_scorer(self.architecture, file, batch.images.device)
        return scorer(batch.images, batch.prompts)

    def release(self) -> None:
        import_module("eval.clip_score").load_scorer.cache_clear()

    def notes(self, prompts: Sequence[str]) -> tuple[str, ...]:
        return _cut_note(self.label, *import_module("eval.clip_score").prompt_lengths(self.architecture, prompts))

    def provenance(self) -> str:
        file = Path(str(self.pretrained))
        weights = self._known.provenance() if self._known else f"{file.name} sha256 {file_checksum(file)[:16]}"
        return f"open_clip {version('open_clip_torch')} {self.architecture}, {weights}, 100 x max(cosine, 0)"


@dataclass(frozen=True)
class ImageRewardScore(SampleMetric):
    """ImageReward-v1.0, which judges pictures."""

    name = "image_reward"
    label = "ImageReward"
    needs_reference = False
    media = ("picture",)

    def weights(self) -> tuple[WeightFile, ...]:
        return (IMAGE_REWARD, BERT_VOCABULARY)

    def score(self, batch: Batch) -> Tensor:
        scorer = import_module("eval.image_reward").load_scorer(*self.paths(), batch.images.device)
        return scorer(batch.images, batch.prompts)

    def release(self) -> None:
        import_module("eval.image_reward").load_scorer.cache_clear()

    def notes(self, prompts: Sequence[str]) -> tuple[str, ...]:
        return _cut_note(self.label, *import_module("eval.image_reward").prompt_lengths(self.paths()[1], prompts))

    def provenance(self) -> str:
        return f"ImageReward-v1.0, {IMAGE_REWARD.provenance()}, BLIP of transformers {version('transformers')}"


def _cut_note(label: str, limit: int, lengths: Sequence[int]) -> tuple[str, ...]:
    """Says how many prompts are longer than what is read of them, in tokens."""
    cut = sum(length > limit for length in lengths)
    return (f"{label} reads {limit} tokens of a prompt: {cut} of {len(lengths)} prompts were cut",) if cut else ()

"""The embedded models' metrics. What computes them takes seconds to import: `eval.scene.scorers`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from eval.metric import Batch, SampleMetric
from eval.scene.files import missing_weights, weights_checksum

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SceneMetric(SampleMetric):
    """A score of the embedded models' pictures and videos, whose weights ship with the project."""

    needs_reference = False
    models = "tiny_"
    folders: ClassVar[tuple[str, ...]]  # of its weights, under assets

    def score(self, batch: Batch) -> Tensor:
        return getattr(import_module("eval.scene.scorers"), self.name)(batch)

    def release(self) -> None:
        import_module("eval.scene.scorers").release()

    def missing(self) -> str:
        return missing_weights(*self.folders)

    def provenance(self) -> str:
        weights = " and ".join(f"assets/{folder}, sha256 {weights_checksum(folder)}" for folder in self.folders)
        return f"{type(self).__doc__} Weights: {weights}"


@dataclass(frozen=True)
class PromptMatch(SceneMetric):
    """1 if exactly the objects, colours and places of the prompt are seen, and its motion in videos."""

    name = "prompt_match"
    label = "Prompt match"
    folders = ("scene_checker",)


@dataclass(frozen=True)
class SceneClipScore(SceneMetric):
    """100 x cosine of picture and prompt in a small open_clip model of drawn scenes."""

    name = "scene_clip_score"
    label = "Scene CLIP Score"
    folders = ("scene_clip",)


@dataclass(frozen=True)
class SceneReward(SceneMetric):
    """A head on the scene CLIP trained on pairs, 0 on average of drawn scenes with their captions, std 1."""

    name = "scene_reward"
    label = "Scene reward"
    folders = ("scene_reward", "scene_clip")

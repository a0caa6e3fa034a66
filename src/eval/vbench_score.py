"""VBench's arithmetic: from the scores of its sixteen dimensions to quality, semantic and total score.

Ranges and weights are those of scripts/constant.py of Vchitect/VBench at commit 7975661: a dimension's score is taken
from [low, high] to [0, 1]; quality and semantic score are weighted means over their dimensions; the total weighs them
4 to 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

QUALITY_WEIGHT, SEMANTIC_WEIGHT = 4, 1


@dataclass(frozen=True)
class Dimension:
    """A dimension: the range of its scores, its weight, and whether own prompts may be scored on it."""

    low: float = 0
    high: float = 1
    weight: float = 1
    own_prompts: bool = False


QUALITY = {
    "subject_consistency": Dimension(0.1462, 1, own_prompts=True),
    "background_consistency": Dimension(0.2615, 1, own_prompts=True),
    "temporal_flickering": Dimension(0.6293, 1, own_prompts=True),
    "motion_smoothness": Dimension(0.706, 0.9975, own_prompts=True),
    "aesthetic_quality": Dimension(own_prompts=True),
    "imaging_quality": Dimension(own_prompts=True),
    "dynamic_degree": Dimension(weight=0.5, own_prompts=True),
}
SEMANTIC = {
    "object_class": Dimension(),
    "multiple_objects": Dimension(),
    "human_action": Dimension(own_prompts=True),
    "color": Dimension(),
    "spatial_relationship": Dimension(),
    "scene": Dimension(high=0.8222),
    "appearance_style": Dimension(0.0009, 0.2855),
    "temporal_style": Dimension(high=0.364, own_prompts=True),
    "overall_consistency": Dimension(high=0.364, own_prompts=True),
}
DIMENSIONS = QUALITY | SEMANTIC
WITH_DETECTRON2 = ("object_class", "multiple_objects", "color", "spatial_relationship")


def score_of(scores: Mapping[str, float], dimensions: Mapping[str, Dimension]) -> float:
    """Weighted mean of the scores of some dimensions, each taken from its range to [0, 1]."""
    weighted = [(d.weight * (scores[name] - d.low) / (d.high - d.low), d.weight) for name, d in dimensions.items()]
    return sum(score for score, _ in weighted) / sum(weight for _, weight in weighted)


def total_of(quality: float, semantic: float) -> float:
    """The total score, from quality and semantic score."""
    return (QUALITY_WEIGHT * quality + SEMANTIC_WEIGHT * semantic) / (QUALITY_WEIGHT + SEMANTIC_WEIGHT)

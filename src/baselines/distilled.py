"""Few steps of a distilled denoiser: training-based acceleration, to compare caching with (MeanCache, B.1 and Table 5).

Upstream of the paper's rows: DiffSynth-Studio/Qwen-Image-Distill-Full, made for 15 steps without guidance. The embedded
models' own student: embedded.students.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from baselines.fewer_steps import FewerSteps


@dataclass(frozen=True)
class Distilled(FewerSteps):
    """Every step computed, by another denoiser in the same pipeline.

    Attributes:
        transformer: its weights, a folder in diffusers format or a hub id; put in when the pipeline is loaded.
        call: what of the pipeline call is other than the model's, e.g. no guidance.

    Raises:
        ValueError: the model names no distilled denoiser.
    """

    transformer: str | None = None
    call: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.transformer is None:
            raise ValueError("no distilled denoiser is known for this model: name its folder with model.distilled")

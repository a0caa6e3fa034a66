"""Tiny random pipelines, one file a family, each with its ``FAMILY``; a new file is found by itself.

Real classes, no text encoder, and no VAE where the pipeline does without; callers hand in prompt embeddings.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple

import torch

HEADS = {"attention_head_dim": 16, "num_attention_heads": 2}
SIZE = {"height": 64, "width": 64}


class Family(NamedTuple):
    """A pipeline and what is known of it.

    Attributes:
        make: the pipeline.
        inputs: arguments of a call that belong to a seed.
        tokens: image tokens that enter the blocks.
        num_branches: denoiser calls a step.
        num_prompts: prompts of a sample in a call.
        num_text: text tokens that the blocks hand on, or that single-stream blocks hold.
        guidance: the argument that switches guidance off where it is 1; or "guider", a part of the pipeline.
        threshold: change of the first block's residual that is crossed now and then; random weights know no common one.
        rounding: share of a sample that bfloat16 may change, a bare run's rounding included.
        batches: a call may have several prompts.
        is_first: one of the five families on which every method is tried; on others one of each kind.
    """

    make: Callable[[], Any]
    inputs: Callable[[int], dict[str, Any]]
    tokens: int = 16
    num_branches: int = 1
    num_prompts: int = 1
    num_text: int = 5
    guidance: str = "guidance_scale"
    threshold: float = 0.4
    rounding: float = 0.05
    batches: bool = True
    is_first: bool = False


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))


def prompts(seed: int, *, width: int = 24) -> dict[str, Any]:
    """Embeddings of a prompt and of a negative one, of 5 tokens each."""
    return {"prompt_embeds": random(seed + 100, 5, width), "negative_prompt_embeds": random(seed + 200, 5, width)}


def load() -> dict[str, Family]:
    """All families, the first five first."""
    families = {file.name: import_module(f"{__name__}.{file.name}").FAMILY for file in iter_modules(__path__)}
    return dict(sorted(families.items(), key=lambda item: not item[1].is_first))

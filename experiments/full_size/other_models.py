"""Wan 2.1 T2V 1.3B and Z-Image without weights: denoiser and solver, which is all that a run on embeddings needs.

Architectures are those of the published config.json files of Wan-AI/Wan2.1-T2V-1.3B-Diffusers and Tongyi-MAI/Z-Image.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)

from experiments.full_size.random_weights import Inputs, Random

_WITHOUT = dict.fromkeys(("vae", "text_encoder", "tokenizer"))


def wan() -> Any:
    """Wan 2.1 T2V 1.3B: 30 blocks of width 1536."""
    with torch.device("cpu"):  # this one moves its grid about when it is made
        scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    transformer = WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30)
    return WanPipeline(scheduler=scheduler, transformer=transformer, **_WITHOUT)


def wan_inputs(config: Any, random: Random) -> Inputs:
    embeds = {name: random(512, config.text_dim) for name in ("prompt_embeds", "negative_prompt_embeds")}
    return {**embeds, "negative_prompt": None}


def z_image() -> Any:
    """Z-Image: 30 blocks."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=6.0)
    return ZImagePipeline(scheduler=scheduler, transformer=ZImageTransformer2DModel(), **_WITHOUT)


def z_image_inputs(config: Any, random: Random) -> Inputs:
    """Text is padded to a multiple of 32 tokens; these are 32 for each prompt."""
    prompts = ("prompt_embeds", "negative_prompt_embeds")
    return {name: [random(32, config.cap_feat_dim)[0]] for name in prompts} | {"negative_prompt": None}


OTHERS: dict[str, tuple[Callable[[], Any], Callable[[Any, Random], Inputs]]] = {
    "wan": (wan, wan_inputs),
    "z_image": (z_image, z_image_inputs),
}

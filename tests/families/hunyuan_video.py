from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, HunyuanVideoPipeline, HunyuanVideoTransformer3DModel

from tests.families import HEADS, Family
from tests.families.flux import inputs as flux_inputs


def make() -> Any:
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        num_single_layers=2,
        num_refiner_layers=1,
        text_embed_dim=24,
        pooled_projection_dim=24,
        rope_axes_dim=(4, 6, 6),
        **HEADS,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=7.0)
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    return HunyuanVideoPipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def inputs(seed: int) -> dict[str, Any]:
    mask = {"prompt_attention_mask": torch.tensor([[1, 1, 1, 1, 0]])}  # the last text token is padding
    return flux_inputs(seed) | mask | {"num_frames": 5}


FAMILY = Family(make, inputs, tokens=32, threshold=0.35, is_first=True)

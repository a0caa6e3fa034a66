from typing import Any

import torch
from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

from tests.families import HEADS, SIZE, Family, prompts


def make() -> Any:
    transformer = ChromaTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        joint_attention_dim=24,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
        **HEADS,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "image_encoder", "feature_extractor"))
    return ChromaPipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def inputs(seed: int) -> dict[str, Any]:
    masks = {f"{kind}prompt_attention_mask": torch.ones(1, 5) for kind in ("", "negative_")}
    return prompts(seed) | masks | SIZE | {"guidance_scale": 2.0}


FAMILY = Family(make, inputs, num_branches=2, rounding=0.1)

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, LTXPipeline, LTXVideoTransformer3DModel

from tests.families import HEADS, Family, prompts


def make() -> Any:
    transformer = LTXVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_layers=3, cross_attention_dim=32, caption_channels=24, **HEADS
    )
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05)
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    return LTXPipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def inputs(seed: int) -> dict[str, Any]:
    mask = torch.tensor([[1, 1, 1, 1, 0]])
    masks = {"prompt_attention_mask": mask, "negative_prompt_attention_mask": mask}
    return prompts(seed) | masks | {"height": 128, "width": 128, "num_frames": 9, "guidance_scale": 3.0}


FAMILY = Family(make, inputs, tokens=32, num_prompts=2, num_text=0, threshold=0.1)

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImagePipeline, QwenImageTransformer2DModel

from tests.families import HEADS, SIZE, Family, prompts

CONFIG = {
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 4,
    "num_layers": 3,
    "joint_attention_dim": 24,
    "axes_dims_rope": (4, 4, 8),
    **HEADS,
}


def scheduler() -> Any:
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
    )


def make() -> Any:
    transformer = QwenImageTransformer2DModel(**CONFIG)
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    return QwenImagePipeline(scheduler=scheduler(), transformer=transformer.eval(), **nothing)


def inputs(seed: int) -> dict[str, Any]:
    mask = torch.ones(1, 5, dtype=torch.long)
    masks = {"prompt_embeds_mask": mask, "negative_prompt_embeds_mask": mask}
    return prompts(seed) | masks | SIZE | {"true_cfg_scale": 4.0}


FAMILY = Family(make, inputs, num_branches=2, guidance="true_cfg_scale", is_first=True)

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

from tests.families import HEADS, SIZE, Family, random


def make() -> Any:
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        joint_attention_dim=24,
        pooled_projection_dim=24,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
        **HEADS,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    return FluxPipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def inputs(seed: int) -> dict[str, Any]:
    return {"prompt_embeds": random(seed + 100, 5, 24), "pooled_prompt_embeds": random(seed + 200, 24), **SIZE}


FAMILY = Family(make, inputs, is_first=True)

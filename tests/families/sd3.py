from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

from tests.families import HEADS, SIZE, Family, prompts, random

ENCODERS = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")


def make() -> Any:
    """As 3.5 medium: the first block attends to the image twice."""
    transformer = SD3Transformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_layers=4,
        joint_attention_dim=24,
        caption_projection_dim=32,
        pooled_projection_dim=24,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
        **HEADS,
    )
    scheduler, nothing = FlowMatchEulerDiscreteScheduler(shift=3.0), dict.fromkeys(("vae", *ENCODERS))
    return StableDiffusion3Pipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def inputs(seed: int) -> dict[str, Any]:
    pooled = {f"{kind}pooled_prompt_embeds": random(seed + 300, 24) for kind in ("", "negative_")}
    return prompts(seed) | pooled | SIZE


FAMILY = Family(make, inputs, num_prompts=2)

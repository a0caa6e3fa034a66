from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo15,
    ClassifierFreeGuidance,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
)

from tests.families import HEADS, SIZE, Family, prompts, random

IMAGE_TOKENS = 2  # of the large model 729


def make() -> Any:
    transformer = HunyuanVideo15Transformer3DModel(
        in_channels=2 * 4 + 1,  # noise, latents of an image, and their mask
        out_channels=4,
        num_layers=3,
        num_refiner_layers=1,
        text_embed_dim=24,
        text_embed_2_dim=24,
        image_embed_dim=24,
        rope_axes_dim=(4, 6, 6),
        task_type="t2v",
        **HEADS,
    )
    vae = AutoencoderKLHunyuanVideo15(latent_channels=4, block_out_channels=(4,) * 5, layers_per_block=1)
    pipe = HunyuanVideo15Pipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        guider=ClassifierFreeGuidance(guidance_scale=4.0),
        vae=vae.eval(),
        **dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")),
    )
    pipe.vision_num_semantic_tokens = IMAGE_TOKENS
    return pipe


def inputs(seed: int) -> dict[str, Any]:
    glyphs = {"prompt_embeds_2": random(seed + 300, 3, 24), "negative_prompt_embeds_2": random(seed + 400, 3, 24)}
    masks = {
        f"{kind}prompt_embeds_mask{encoder}": torch.tensor([[1] * (length - 1) + [0]])
        for kind in ("", "negative_")
        for encoder, length in (("", 5), ("_2", 3))
    }
    return prompts(seed) | glyphs | masks | SIZE | {"num_frames": 5}


FAMILY = Family(make, inputs, 2 * 16, num_branches=2, num_text=5 + 3 + IMAGE_TOKENS, guidance="guider", threshold=0.3)

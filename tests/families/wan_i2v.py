"""Wan 2.1 from an image: its latents come beside the noise, its embedding beside the text."""

from typing import Any

from diffusers import AutoencoderKLWan, WanImageToVideoPipeline
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from tests.families import wan

Z_DIM, SIDE = 4, 16
SMALL = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def make() -> Any:
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=Z_DIM,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * Z_DIM,
        latents_std=[1.0] * Z_DIM,
    )
    # noise, a mask of 4 frames, and latents of the image
    transformer = wan.transformer(in_channels=2 * Z_DIM + 4, image_dim=24, added_kv_proj_dim=32)
    return WanImageToVideoPipeline(
        transformer=transformer,
        scheduler=wan.scheduler(),
        vae=vae.eval(),
        image_encoder=CLIPVisionModel(CLIPVisionConfig(image_size=SIDE, patch_size=SIDE // 2, **SMALL)).eval(),
        image_processor=CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE),
        **dict.fromkeys(("text_encoder", "tokenizer")),
    )


def inputs(seed: int) -> dict[str, Any]:
    return wan.inputs(seed) | {"image": Image.new("RGB", (64, 64), (200, 40, 40))}


FAMILY = wan.FAMILY._replace(make=make, inputs=inputs, threshold=0.06, is_first=False)

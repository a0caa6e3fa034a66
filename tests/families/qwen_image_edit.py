"""Qwen-Image-Edit: latents of the image come beside the noise."""

from typing import Any

from diffusers import AutoencoderKLQwenImage, QwenImageEditPlusPipeline, QwenImageTransformer2DModel
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from PIL import Image

from tests.families import qwen_image

# it scales images to these many pixels, a million: to encode those would take most of the time of a tiny run
pipeline_qwenimage_edit_plus.VAE_IMAGE_SIZE = pipeline_qwenimage_edit_plus.CONDITION_IMAGE_SIZE = 64 * 64


def make() -> Any:
    vae = AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    transformer = QwenImageTransformer2DModel(**qwen_image.CONFIG).eval()
    nothing = dict.fromkeys(("text_encoder", "tokenizer", "processor"))
    return QwenImageEditPlusPipeline(
        scheduler=qwen_image.scheduler(), transformer=transformer, vae=vae.eval(), **nothing
    )


def inputs(seed: int) -> dict[str, Any]:
    return qwen_image.inputs(seed) | {"image": Image.new("RGB", (64, 64), (200, 40, 40))}


FAMILY = qwen_image.FAMILY._replace(make=make, inputs=inputs, tokens=2 * 16, batches=False, is_first=False)

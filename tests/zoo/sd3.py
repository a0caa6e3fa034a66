"""Stable Diffusion 3."""

from typing import Any

from diffusers import (
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3ControlNetInpaintingPipeline,
    StableDiffusion3ControlNetPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3PAGImg2ImgPipeline,
    StableDiffusion3PAGPipeline,
    StableDiffusion3Pipeline,
)

from tests.zoo.entries import Made, entry, euler, half_mask, image_vae, nothing, picture, random

DIMENSIONS = {
    "sample_size": 32,
    "patch_size": 1,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "caption_projection_dim": 32,
    "joint_attention_dim": 24,
    "pooled_projection_dim": 24,
}
PROMPT = {
    "prompt_embeds": random(1, 5, 24, seed=1),
    "negative_prompt_embeds": random(1, 5, 24, seed=2),
    "pooled_prompt_embeds": random(1, 24, seed=3),
    "negative_pooled_prompt_embeds": random(1, 24, seed=4),
    "guidance_scale": 4.0,
}
SIZE = {"height": 16, "width": 16}
IMAGE = {"image": picture(16), **SIZE}
PAINTED = {**IMAGE, "mask_image": half_mask(16)}
CONTROL = {"control_image": picture(16, seed=5)}


def sd3(kind: Any, channels: int = 4, **components: Any) -> Any:
    transformer = SD3Transformer2DModel(in_channels=channels, out_channels=channels, num_layers=3, **DIMENSIONS).eval()
    texts = nothing("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
    given = {"scheduler": euler(shift=3.0), "vae": image_vae(channels), "transformer": transformer}
    return kind(**given | texts | components)


def controlnet(extra_channels: int = 0) -> dict[str, Any]:
    net = SD3ControlNetModel(
        in_channels=8, out_channels=8, num_layers=1, extra_conditioning_channels=extra_channels, **DIMENSIONS
    ).eval()
    return {"controlnet": net}


@entry("sd3", "StableDiffusion3Pipeline")
def text_to_image() -> Made:
    return sd3(StableDiffusion3Pipeline), PROMPT | SIZE


@entry("sd3", "StableDiffusion3Pipeline, skip-layer guidance", num_steps=8, note="a second call at some steps")
def skip_layer_guidance() -> Made:
    layers = {"skip_guidance_layers": [1], "skip_layer_guidance_start": 0.2, "skip_layer_guidance_stop": 0.6}
    return sd3(StableDiffusion3Pipeline), PROMPT | SIZE | layers


@entry("sd3", "StableDiffusion3Img2ImgPipeline, strength 0.7", num_steps=8)
def img2img() -> Made:
    return sd3(StableDiffusion3Img2ImgPipeline), PROMPT | IMAGE | {"strength": 0.7}


@entry("sd3", "StableDiffusion3InpaintPipeline, strength 0.7", num_steps=8)
def inpaint() -> Made:
    return sd3(StableDiffusion3InpaintPipeline, 16), PROMPT | PAINTED | {"strength": 0.7}


@entry("sd3", "StableDiffusion3ControlNetPipeline", note="the ControlNet runs at skipped steps too")
def control_net() -> Made:
    return sd3(StableDiffusion3ControlNetPipeline, 8, **controlnet()), PROMPT | SIZE | CONTROL


@entry("sd3", "StableDiffusion3ControlNetInpaintingPipeline")
def control_net_inpaint() -> Made:
    pipe = sd3(StableDiffusion3ControlNetInpaintingPipeline, 8, **controlnet(1))
    return pipe, PROMPT | SIZE | CONTROL | {"control_mask": half_mask(16)}


@entry("sd3", "StableDiffusion3PAGPipeline")
def perturbed_attention() -> Made:
    return sd3(StableDiffusion3PAGPipeline, pag_applied_layers="blocks.1"), PROMPT | SIZE | {"pag_scale": 0.7}


@entry("sd3", "StableDiffusion3PAGImg2ImgPipeline, strength 0.7", num_steps=8)
def perturbed_attention_img2img() -> Made:
    pipe = sd3(StableDiffusion3PAGImg2ImgPipeline, pag_applied_layers="blocks.1")
    return pipe, PROMPT | IMAGE | {"pag_scale": 0.7, "strength": 0.7}

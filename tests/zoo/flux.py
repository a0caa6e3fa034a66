"""FLUX.1 and its relatives."""

from typing import Any

from diffusers import (
    FluxControlImg2ImgPipeline,
    FluxControlInpaintPipeline,
    FluxControlNetImg2ImgPipeline,
    FluxControlNetInpaintPipeline,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxKontextInpaintPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)

from tests.zoo.entries import Made, entry, euler, half_mask, image_vae, nothing, picture, random

DIMENSIONS = {
    "patch_size": 1,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 24,
    "pooled_projection_dim": 24,
    "axes_dims_rope": (4, 4, 8),
}
PROMPT = {"prompt_embeds": random(1, 5, 24, seed=1), "pooled_prompt_embeds": random(1, 24, seed=2)}
NEGATIVE = {"negative_prompt_embeds": random(1, 5, 24, seed=3), "negative_pooled_prompt_embeds": random(1, 24, seed=4)}
SIZE = {"height": 32, "width": 32}
IMAGE = {"image": picture(), **SIZE}
PAINTED = {**IMAGE, "mask_image": half_mask()}
CONTROL = {"control_image": picture(seed=5)}


def flux(kind: Any, in_channels: int = 16, out_channels: int | None = None, **components: Any) -> Any:
    transformer = FluxTransformer2DModel(in_channels=in_channels, out_channels=out_channels, **DIMENSIONS).eval()
    texts = nothing("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    given = {"scheduler": euler(shift=3.0), "vae": image_vae(4, levels=2), "transformer": transformer}
    return kind(**given | texts | components)


def controlnet(in_channels: int = 16) -> dict[str, Any]:
    net = FluxControlNetModel(in_channels=in_channels, **DIMENSIONS).eval()
    return {"controlnet": net}


@entry("flux", "FluxPipeline")
def text_to_image() -> Made:
    return flux(FluxPipeline), PROMPT | SIZE


@entry("flux", "FluxPipeline, true CFG")
def true_cfg() -> Made:
    return flux(FluxPipeline), PROMPT | NEGATIVE | SIZE | {"true_cfg_scale": 3.0}


@entry("flux", "FluxImg2ImgPipeline, strength 1")
def img2img_whole() -> Made:
    return flux(FluxImg2ImgPipeline), PROMPT | IMAGE | {"strength": 1.0}


@entry("flux", "FluxImg2ImgPipeline, strength 0.7", num_steps=8)
def img2img() -> Made:
    return flux(FluxImg2ImgPipeline), PROMPT | IMAGE | {"strength": 0.7}


@entry("flux", "FluxInpaintPipeline, strength 1")
def inpaint_whole() -> Made:
    return flux(FluxInpaintPipeline), PROMPT | PAINTED | {"strength": 1.0}


@entry("flux", "FluxInpaintPipeline, strength 0.7", num_steps=8)
def inpaint() -> Made:
    return flux(FluxInpaintPipeline), PROMPT | PAINTED | {"strength": 0.7}


@entry("flux", "FluxFillPipeline")
def fill() -> Made:
    return flux(FluxFillPipeline, 16 + 16 + 16, 16), PROMPT | PAINTED


@entry("flux", "FluxControlPipeline")
def control() -> Made:
    return flux(FluxControlPipeline, 32, 16), PROMPT | SIZE | CONTROL


@entry("flux", "FluxControlImg2ImgPipeline, strength 0.7", num_steps=8)
def control_img2img() -> Made:
    return flux(FluxControlImg2ImgPipeline, 32, 16), PROMPT | IMAGE | CONTROL | {"strength": 0.7}


@entry("flux", "FluxControlInpaintPipeline, strength 0.7", num_steps=8)
def control_inpaint() -> Made:
    return flux(FluxControlInpaintPipeline, 32, 16), PROMPT | PAINTED | CONTROL | {"strength": 0.7}


@entry("flux", "FluxControlNetPipeline", note="the ControlNet runs at skipped steps too")
def control_net() -> Made:
    return flux(FluxControlNetPipeline, **controlnet()), PROMPT | SIZE | CONTROL


@entry("flux", "FluxControlNetImg2ImgPipeline, strength 0.7", num_steps=8)
def control_net_img2img() -> Made:
    return flux(FluxControlNetImg2ImgPipeline, **controlnet()), PROMPT | IMAGE | CONTROL | {"strength": 0.7}


@entry("flux", "FluxControlNetInpaintPipeline, strength 0.7", num_steps=8)
def control_net_inpaint() -> Made:
    return flux(FluxControlNetInpaintPipeline, **controlnet()), PROMPT | PAINTED | CONTROL | {"strength": 0.7}


@entry("flux", "FluxKontextPipeline")
def kontext() -> Made:
    return flux(FluxKontextPipeline), PROMPT | IMAGE | {"_auto_resize": False, "max_area": 32 * 32}


@entry("flux", "FluxKontextInpaintPipeline, strength 0.7", num_steps=8)
def kontext_inpaint() -> Made:
    options = {"strength": 0.7, "_auto_resize": False, "max_area": 32 * 32}
    return flux(FluxKontextInpaintPipeline), PROMPT | PAINTED | options

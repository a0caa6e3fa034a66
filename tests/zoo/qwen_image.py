"""Qwen-Image and its editors."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    QwenImageControlNetInpaintPipeline,
    QwenImageControlNetModel,
    QwenImageControlNetPipeline,
    QwenImageEditInpaintPipeline,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImageImg2ImgPipeline,
    QwenImageInpaintPipeline,
    QwenImageLayeredPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus

from tests.zoo.entries import Made, PoolingVae, StandIn, entry, euler, half_mask, nothing, photo, picture, random

DIMENSIONS = {
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 16,
    "axes_dims_rope": (8, 4, 4),
}
MASK = torch.ones(1, 5, dtype=torch.long)
PROMPT = {"prompt_embeds": random(1, 5, 16, seed=1), "prompt_embeds_mask": MASK}
NEGATIVE = {"negative_prompt_embeds": random(1, 5, 16, seed=2), "negative_prompt_embeds_mask": MASK}
GUIDED = PROMPT | NEGATIVE | {"true_cfg_scale": 3.0}
SIZE = {"height": 32, "width": 32}
IMAGE = {"image": picture(), **SIZE}
PAINTED = {**IMAGE, "mask_image": half_mask()}
PHOTO = {"image": photo(64)}
SMALL = 64 * 64  # pixels: the module scales every picture to a million
EDITOR = {"vae": PoolingVae(4), "processor": None}


def qwen_vae(z_dim: int = 4) -> AutoencoderKLQwenImage:
    return AutoencoderKLQwenImage(
        base_dim=12,
        z_dim=z_dim,
        dim_mult=[1, 1, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * z_dim,
        latents_std=[1.0] * z_dim,
    )


def qwen(kind: Any, layered: bool = False, **components: Any) -> Any:
    special = {"use_additional_t_cond": True, "use_layer3d_rope": True} if layered else {}
    transformer = QwenImageTransformer2DModel(**DIMENSIONS, **special).eval()
    given = {"scheduler": euler(shift=3.0), "vae": qwen_vae(), "transformer": transformer}
    return kind(**given | nothing("text_encoder", "tokenizer") | components)


def controlnet(extra_channels: int = 0) -> dict[str, Any]:
    net = QwenImageControlNetModel(**DIMENSIONS, extra_condition_channels=extra_channels).eval()
    return {"controlnet": net}


@entry("qwen_image", "QwenImagePipeline", note="guidance rescaled by norms")
def text_to_image() -> Made:
    return qwen(QwenImagePipeline), GUIDED | SIZE


@entry("qwen_image", "QwenImageImg2ImgPipeline, strength 0.7", num_steps=8)
def img2img() -> Made:
    return qwen(QwenImageImg2ImgPipeline), GUIDED | IMAGE | {"strength": 0.7}


@entry("qwen_image", "QwenImageInpaintPipeline, strength 0.7", num_steps=8)
def inpaint() -> Made:
    return qwen(QwenImageInpaintPipeline), GUIDED | PAINTED | {"strength": 0.7}


@entry("qwen_image", "QwenImageControlNetPipeline", note="the ControlNet runs at skipped steps too")
def control_net() -> Made:
    return qwen(QwenImageControlNetPipeline, **controlnet()), GUIDED | SIZE | {"control_image": picture(seed=5)}


@entry("qwen_image", "QwenImageControlNetInpaintPipeline")
def control_net_inpaint() -> Made:
    control = {"control_image": picture(seed=5), "control_mask": half_mask()}
    return qwen(QwenImageControlNetInpaintPipeline, **controlnet(4)), GUIDED | SIZE | control


@entry("qwen_image", "QwenImageEditPipeline")
def edit() -> Made:
    return qwen(QwenImageEditPipeline, **EDITOR), GUIDED | PHOTO


@entry("qwen_image", "QwenImageEditInpaintPipeline, strength 0.7", num_steps=8)
def edit_inpaint() -> Made:
    inputs = GUIDED | PHOTO | {"mask_image": half_mask(), "strength": 0.7}
    return qwen(QwenImageEditInpaintPipeline, **EDITOR), inputs


@entry("qwen_image", "QwenImageEditPlusPipeline")
def edit_plus() -> Made:
    pipeline_qwenimage_edit_plus.VAE_IMAGE_SIZE = pipeline_qwenimage_edit_plus.CONDITION_IMAGE_SIZE = SMALL
    vae = PoolingVae(4, downsamplings=3)
    return qwen(QwenImageEditPlusPipeline, **EDITOR | {"vae": vae}), GUIDED | PHOTO | {"height": 64, "width": 64}


@entry("qwen_image", "QwenImageLayeredPipeline")
def layered() -> Made:
    pipe = qwen(QwenImageLayeredPipeline, layered=True, **EDITOR, text_encoder=StandIn())
    return pipe, GUIDED | PHOTO | {"layers": 2, "prompt": "a picture", "output_type": "pt"}

"""Z-Image: both prompts of guidance in one call, the velocity negated outside the transformer."""

from typing import Any

from diffusers import (
    ZImageControlNetInpaintPipeline,
    ZImageControlNetModel,
    ZImageControlNetPipeline,
    ZImageImg2ImgPipeline,
    ZImageInpaintPipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)

from tests.zoo.entries import Made, entry, euler, half_mask, image_vae, nothing, picture, random

PROMPT = {
    "prompt_embeds": [random(5, 24, seed=1)],
    "negative_prompt_embeds": [random(5, 24, seed=2)],
    "guidance_scale": 3.0,
}
SIZE = {"height": 32, "width": 32}
IMAGE = {"image": picture(), **SIZE}
PAINTED = {**IMAGE, "mask_image": half_mask()}


def z_image(kind: Any, **components: Any) -> Any:
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=24,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 32, 32],
    ).eval()
    for token in (transformer.x_pad_token, transformer.cap_pad_token):
        token.data.fill_(1.0)  # left uninitialized by the class
    given = {"scheduler": euler(shift=3.0), "vae": image_vae(4, levels=2), "transformer": transformer}
    return kind(**given | nothing("text_encoder", "tokenizer") | components)


def controlnet(in_channels: int) -> dict[str, Any]:
    return {
        "controlnet": ZImageControlNetModel(
            control_layers_places=[0, 1],
            control_refiner_layers_places=[0],
            control_in_dim=in_channels,
            dim=32,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
        ).eval()
    }


@entry("z_image", "ZImagePipeline")
def text_to_image() -> Made:
    return z_image(ZImagePipeline), PROMPT | SIZE


@entry("z_image", "ZImagePipeline, CFG truncation", note="from half the time on one prompt a call instead of two")
def cfg_truncation() -> Made:
    return z_image(ZImagePipeline), PROMPT | SIZE | {"cfg_truncation": 0.5}


@entry("z_image", "ZImageImg2ImgPipeline, strength 0.7", num_steps=8)
def img2img() -> Made:
    return z_image(ZImageImg2ImgPipeline), PROMPT | IMAGE | {"strength": 0.7}


@entry("z_image", "ZImageInpaintPipeline, strength 0.7", num_steps=8)
def inpaint() -> Made:
    return z_image(ZImageInpaintPipeline), PROMPT | PAINTED | {"strength": 0.7}


@entry("z_image", "ZImageControlNetPipeline", note="the ControlNet runs at skipped steps too")
def control_net() -> Made:
    return z_image(ZImageControlNetPipeline, **controlnet(4)), PROMPT | SIZE | {"control_image": picture(seed=5)}


@entry("z_image", "ZImageControlNetInpaintPipeline")
def control_net_inpaint() -> Made:
    pipe = z_image(ZImageControlNetInpaintPipeline, **controlnet(9))
    return pipe, PROMPT | PAINTED | {"control_image": picture(seed=5)}

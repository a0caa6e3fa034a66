"""HunyuanVideo in all its versions."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo15,
    HunyuanSkyreelsImageToVideoPipeline,
    HunyuanVideo15ImageToVideoPipeline,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
    HunyuanVideoFramepackPipeline,
    HunyuanVideoFramepackTransformer3DModel,
    HunyuanVideoImageToVideoPipeline,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from diffusers.guiders import ClassifierFreeGuidance

from tests.zoo.entries import Made, entry, euler, nothing, photo, random
from tests.zoo.video import hunyuan_vae

DIMENSIONS = {
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 10,
    "num_layers": 1,
    "num_single_layers": 1,
    "num_refiner_layers": 1,
    "patch_size": 1,
    "patch_size_t": 1,
    "text_embed_dim": 16,
    "pooled_projection_dim": 8,
    "rope_axes_dim": (2, 4, 4),
}
MASK = torch.ones(1, 5, dtype=torch.long)
PROMPT = {
    "prompt_embeds": random(1, 5, 16, seed=1),
    "pooled_prompt_embeds": random(1, 8, seed=2),
    "prompt_attention_mask": MASK,
}
NEGATIVE = {
    "negative_prompt_embeds": random(1, 5, 16, seed=3),
    "negative_pooled_prompt_embeds": random(1, 8, seed=4),
    "negative_prompt_attention_mask": MASK,
    "true_cfg_scale": 3.0,
}
SIZE = {"height": 16, "width": 16, "num_frames": 9}


def hunyuan(
    kind: Any, model: Any = HunyuanVideoTransformer3DModel, absent: tuple[str, ...] = (), **special: Any
) -> Any:
    transformer = model(**DIMENSIONS | special).eval()
    texts = nothing("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", *absent)
    return kind(scheduler=euler(shift=7.0), vae=hunyuan_vae(), transformer=transformer, **texts)


@entry("hunyuan_video", "HunyuanVideoPipeline")
def text_to_video() -> Made:
    return hunyuan(HunyuanVideoPipeline, in_channels=4), PROMPT | SIZE


@entry("hunyuan_video", "HunyuanVideoPipeline, true CFG")
def text_to_video_guided() -> Made:
    return hunyuan(HunyuanVideoPipeline, in_channels=4), PROMPT | NEGATIVE | SIZE


@entry("hunyuan_video", "HunyuanVideoImageToVideoPipeline, latent concat")
def image_to_video() -> Made:
    special = {"in_channels": 9, "guidance_embeds": False, "image_condition_type": "latent_concat"}
    pipe = hunyuan(HunyuanVideoImageToVideoPipeline, absent=("image_processor",), **special)
    return pipe, PROMPT | SIZE | {"image": photo(16)}


@entry(
    "hunyuan_video", "HunyuanVideoImageToVideoPipeline, token replace", note="the solver moves all frames but the first"
)
def image_to_video_token_replace() -> Made:
    special = {"in_channels": 4, "guidance_embeds": True, "image_condition_type": "token_replace"}
    pipe = hunyuan(HunyuanVideoImageToVideoPipeline, absent=("image_processor",), **special)
    return pipe, PROMPT | SIZE | {"image": photo(16)}


@entry("hunyuan_video", "HunyuanSkyreelsImageToVideoPipeline")
def skyreels_image_to_video() -> Made:
    return hunyuan(HunyuanSkyreelsImageToVideoPipeline, in_channels=8), PROMPT | NEGATIVE | SIZE | {"image": photo(16)}


@entry("hunyuan_video", "HunyuanVideoFramepackPipeline, two sections", note="timesteps set for each section")
def framepack() -> Made:
    special = {"patch_size": 2, "has_image_proj": True, "image_proj_dim": 32, "has_clean_x_embedder": True}
    absent = ("image_encoder", "feature_extractor")
    pipe = hunyuan(
        HunyuanVideoFramepackPipeline, HunyuanVideoFramepackTransformer3DModel, absent, in_channels=4, **special
    )
    pipe.encode_image = lambda *args, **kwargs: random(1, 3, 32, seed=5)
    inputs = {"image": photo(), "height": 32, "width": 32, "num_frames": 13, "latent_window_size": 3}
    return pipe, PROMPT | inputs


def hunyuan15(kind: Any, task: str, **components: Any) -> Any:
    transformer = HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        patch_size=1,
        patch_size_t=1,
        text_embed_dim=16,
        text_embed_2_dim=32,
        image_embed_dim=12,
        rope_axes_dim=(2, 2, 4),
        target_size=16,
        task_type=task,
    ).eval()
    vae = AutoencoderKLHunyuanVideo15(
        latent_channels=4,
        block_out_channels=(16, 16),
        layers_per_block=1,
        spatial_compression_ratio=4,
        temporal_compression_ratio=2,
        downsample_match_channel=False,
        upsample_match_channel=False,
    ).eval()
    texts = nothing("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    guider = ClassifierFreeGuidance(guidance_scale=3.0)
    return kind(scheduler=euler(shift=7.0), vae=vae, transformer=transformer, guider=guider, **texts, **components)


PROMPT_15 = {
    "prompt_embeds": random(1, 5, 16, seed=1),
    "prompt_embeds_mask": MASK,
    "prompt_embeds_2": random(1, 4, 32, seed=2),
    "prompt_embeds_mask_2": MASK[:, :4],
    "negative_prompt_embeds": random(1, 5, 16, seed=3),
    "negative_prompt_embeds_mask": MASK,
    "negative_prompt_embeds_2": random(1, 4, 32, seed=4),
    "negative_prompt_embeds_mask_2": MASK[:, :4],
}


@entry("hunyuan_video", "HunyuanVideo15Pipeline")
def text_to_video_15() -> Made:
    return hunyuan15(HunyuanVideo15Pipeline, "t2v"), PROMPT_15 | SIZE


@entry("hunyuan_video", "HunyuanVideo15ImageToVideoPipeline")
def image_to_video_15() -> Made:
    pipe = hunyuan15(HunyuanVideo15ImageToVideoPipeline, "i2v", **nothing("image_encoder", "feature_extractor"))
    pipe.encode_image = lambda *args, **kwargs: random(1, 3, 12, seed=5)
    return pipe, PROMPT_15 | {"image": photo(16), "num_frames": 9}

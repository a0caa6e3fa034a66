"""Video models other than Wan: Kandinsky, LTX."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLLTXVideo,
    Kandinsky5I2IPipeline,
    Kandinsky5I2VPipeline,
    Kandinsky5T2IPipeline,
    Kandinsky5T2VPipeline,
    Kandinsky5Transformer3DModel,
    LTXConditionPipeline,
    LTXImageToVideoPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
)

from tests.zoo.entries import Made, entry, euler, image_vae, nothing, photo, picture, random

SIZE = {"height": 32, "width": 32}
K5_PROMPT = {
    "prompt_embeds_qwen": random(1, 5, 24, seed=1),
    "prompt_embeds_clip": random(1, 16, seed=2),
    "prompt_cu_seqlens": torch.tensor([0, 5], dtype=torch.int32),
    "negative_prompt_embeds_qwen": random(1, 5, 24, seed=3),
    "negative_prompt_embeds_clip": random(1, 16, seed=4),
    "negative_prompt_cu_seqlens": torch.tensor([0, 5], dtype=torch.int32),
    "guidance_scale": 4.0,
}
LTX_MASK = torch.ones(1, 5, dtype=torch.long)
LTX_PROMPT = {
    "prompt_embeds": random(1, 5, 24, seed=1),
    "prompt_attention_mask": LTX_MASK,
    "negative_prompt_embeds": random(1, 5, 24, seed=2),
    "negative_prompt_attention_mask": LTX_MASK,
    "guidance_scale": 3.0,
    "num_frames": 9,
}
IN_PLACE = "latents written in place"


def kandinsky5(kind: Any, conditioned: bool = False, **components: Any) -> Any:
    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=24,
        in_text_dim2=16,
        time_dim=16,
        patch_size=(1, 2, 2),
        model_dim=16,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=2,
        axes_dims=(1, 1, 2),
        visual_cond=conditioned,
        attention_type="regular",
    ).eval()
    texts = nothing("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    pipe = kind(scheduler=euler(shift=7.0), transformer=transformer, **texts, **components)
    pipe.resolutions = [(64, 64)]  # of images; the class scales every other up to a million pixels
    return pipe


def hunyuan_vae(block_channels: tuple[int, ...] = (4, 4, 4, 4)) -> AutoencoderKLHunyuanVideo:
    return AutoencoderKLHunyuanVideo(
        block_out_channels=block_channels,
        down_block_types=("HunyuanVideoDownBlock3D",) * len(block_channels),
        up_block_types=("HunyuanVideoUpBlock3D",) * len(block_channels),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=1,
        mid_block_add_attention=False,
    )


@entry("kandinsky5", "Kandinsky5T2VPipeline", note=IN_PLACE)
def kandinsky5_t2v() -> Made:
    return kandinsky5(Kandinsky5T2VPipeline, vae=hunyuan_vae()), K5_PROMPT | SIZE | {"num_frames": 5}


@entry("kandinsky5", "Kandinsky5I2VPipeline", note=IN_PLACE)
def kandinsky5_i2v() -> Made:
    inputs = K5_PROMPT | SIZE | {"num_frames": 17, "image": picture()}
    return kandinsky5(Kandinsky5I2VPipeline, conditioned=True, vae=hunyuan_vae()), inputs


@entry("kandinsky5", "Kandinsky5T2IPipeline")
def kandinsky5_t2i() -> Made:
    return kandinsky5(Kandinsky5T2IPipeline, vae=image_vae(4, levels=4)), K5_PROMPT | {"height": 64, "width": 64}


@entry("kandinsky5", "Kandinsky5I2IPipeline", note=IN_PLACE)
def kandinsky5_i2i() -> Made:
    inputs = K5_PROMPT | {"height": 64, "width": 64, "image": picture(64)}
    return kandinsky5(Kandinsky5I2IPipeline, conditioned=True, vae=image_vae(4, levels=4)), inputs


def ltx_transformer() -> LTXVideoTransformer3DModel:
    return LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=2,
        caption_channels=24,
    ).eval()


def ltx_vae() -> AutoencoderKLLTXVideo:
    return AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    ).eval()


def ltx(kind: Any, shift: float = 3.0) -> Any:
    texts = nothing("text_encoder", "tokenizer")
    return kind(scheduler=euler(shift=shift), vae=ltx_vae(), transformer=ltx_transformer(), **texts)


@entry("ltx", "LTXPipeline")
def ltx_text_to_video() -> Made:
    return ltx(LTXPipeline), LTX_PROMPT | SIZE


@entry("ltx", "LTXImageToVideoPipeline", note="the first frame is cut off around the step")
def ltx_image_to_video() -> Made:
    return ltx(LTXImageToVideoPipeline), LTX_PROMPT | SIZE | {"image": picture()}


@entry("ltx", "LTXConditionPipeline", displacement="velocities", tolerance=1e-5, note="steps with a negated velocity")
def ltx_condition() -> Made:
    return ltx(LTXConditionPipeline, shift=1.0), LTX_PROMPT | SIZE | {"image": photo(), "image_cond_noise_scale": 0.0}


@entry("ltx", "LTXConditionPipeline, denoise_strength 0.7", displacement="velocities", tolerance=1e-5, num_steps=8)
def ltx_condition_part() -> Made:
    inputs = {"image": photo(), "image_cond_noise_scale": 0.0, "denoise_strength": 0.7}
    return ltx(LTXConditionPipeline, shift=1.0), LTX_PROMPT | SIZE | inputs

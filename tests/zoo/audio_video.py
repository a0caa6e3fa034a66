"""Models that denoise video and audio at once: a scheduler for each, the second one a deep copy."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    Cosmos3OmniPipeline,
    Cosmos3OmniTransformer,
    Kandinsky6TI2VAPipeline,
    Kandinsky6Transformer3DModel,
    LTX2ConditionPipeline,
    LTX2ImageToVideoPipeline,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from transformers import BatchEncoding

from tests.zoo.entries import Made, StandIn, entry, euler, nothing, photo, random
from tests.zoo.video import hunyuan_vae
from tests.zoo.wan import unipc, wan_vae

COPIED = "a copy of the scheduler for the audio"
MASK = torch.ones(1, 6, dtype=torch.long)
LTX2_PROMPT = {
    "prompt_embeds": random(1, 6, 32 * 3, seed=1),
    "prompt_attention_mask": MASK,
    "negative_prompt_embeds": random(1, 6, 32 * 3, seed=2),
    "negative_prompt_attention_mask": MASK,
    "height": 32,
    "width": 32,
    "num_frames": 5,
    "frame_rate": 25.0,
    "spatio_temporal_guidance_blocks": [1],
    "use_cross_timestep": False,
}


def ltx2(kind: Any) -> Any:
    transformer = LTX2VideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=2,
        caption_channels=32,
        rope_double_precision=False,
        rope_type="split",
        perturbed_attn=True,
    ).eval()
    connectors = LTX2TextConnectors(
        caption_channels=32,
        text_proj_in_factor=3,
        video_connector_num_attention_heads=4,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=None,
        audio_connector_num_attention_heads=4,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None,
        connector_rope_base_seq_len=32,
        rope_theta=10000.0,
        rope_double_precision=False,
        causal_temporal_positioning=False,
        rope_type="split",
    ).eval()
    parts = {"vae": ltx2_vae(), "audio_vae": ltx2_audio_vae(), "transformer": transformer, "connectors": connectors}
    return kind(scheduler=euler(shift=3.0), **parts, **nothing("text_encoder", "tokenizer", "vocoder"))


def ltx2_vae() -> AutoencoderKLLTX2Video:
    return AutoencoderKLLTX2Video(
        latent_channels=4,
        block_out_channels=(8,),
        decoder_block_out_channels=(8,),
        layers_per_block=(1,),
        decoder_layers_per_block=(1, 1),
        spatio_temporal_scaling=(True,),
        decoder_spatio_temporal_scaling=(True,),
        decoder_inject_noise=(False, False),
        downsample_type=("spatial",),
        upsample_residual=(False,),
        upsample_factor=(1,),
        patch_size=4,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    ).eval()


def ltx2_audio_vae() -> AutoencoderKLLTX2Audio:
    return AutoencoderKLLTX2Audio(
        base_channels=4,
        ch_mult=(1,),
        num_res_blocks=1,
        attn_resolutions=None,
        in_channels=2,
        resolution=32,
        latent_channels=2,
        norm_type="pixel",
        causality_axis="height",
        mel_bins=8,
        mid_block_add_attention=False,
    ).eval()


@entry("ltx2", "LTX2Pipeline", note=COPIED)
def ltx2_text_to_video() -> Made:
    return ltx2(LTX2Pipeline), LTX2_PROMPT


@entry("ltx2", "LTX2Pipeline, one call a step", note=COPIED)
def ltx2_unguided() -> Made:
    scales = {f"{prefix}{name}": 1.0 for prefix in ("", "audio_") for name in ("guidance_scale", "modality_scale")}
    unguided = scales | {"stg_scale": 0.0, "audio_stg_scale": 0.0}
    return ltx2(LTX2Pipeline), LTX2_PROMPT | unguided


@entry("ltx2", "LTX2ImageToVideoPipeline", note=COPIED)
def ltx2_image_to_video() -> Made:
    return ltx2(LTX2ImageToVideoPipeline), LTX2_PROMPT | {"image": photo(), "image_crf": 0}


@entry("ltx2", "LTX2ConditionPipeline", note=COPIED)
def ltx2_condition() -> Made:
    return ltx2(LTX2ConditionPipeline), LTX2_PROMPT


def kandinsky6() -> Any:
    transformer = Kandinsky6Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=24,
        in_text_dim2=16,
        time_dim=16,
        model_dim=16,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=2,
        axes_dims=(4, 6, 6),
        in_audio_dim=4,
        out_audio_dim=4,
        model_dim_a=16,
        time_dim_a=16,
        ff_dim_a=32,
        axes_dims_a=(16,),
        visual_token_type_num_embeddings=2,
    ).eval()
    audio_vae = StandIn(sample_rate=1600)
    audio_vae.latent_hop_length = 64
    parts = {"vae": hunyuan_vae(), "audio_vae": audio_vae, "vocoder": StandIn(), "transformer": transformer}
    texts = nothing("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    return Kandinsky6TI2VAPipeline(scheduler=euler(shift=5.0), **parts, **texts)


KANDINSKY6_PROMPT = {
    "prompt_embeds": random(1, 5, 24, seed=1),
    "pooled_prompt_embeds": random(1, 16, seed=2),
    "negative_prompt_embeds": random(1, 5, 24, seed=3),
    "negative_pooled_prompt_embeds": random(1, 16, seed=4),
    "height": 32,
    "width": 32,
    "num_frames": 5,
}


@entry("kandinsky6", "Kandinsky6TI2VAPipeline", note=COPIED)
def kandinsky6_text_to_video() -> Made:
    return kandinsky6(), KANDINSKY6_PROMPT


@entry("kandinsky6", "Kandinsky6TI2VAPipeline, from an image", note=COPIED)
def kandinsky6_image_to_video() -> Made:
    return kandinsky6(), KANDINSKY6_PROMPT | {"image": photo()}


class Words:
    """A tokenizer that knows few words."""

    eos_token_id = 2

    def convert_tokens_to_ids(self, token: str) -> int:
        return 1

    def apply_chat_template(self, conversations: Any, **options: Any) -> BatchEncoding:
        return BatchEncoding({"input_ids": [3, 4, 5]})


class Sounds(StandIn):
    """A sound tokenizer whose sounds are its latents."""

    _hop_size = 8

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def cosmos3() -> Any:
    transformer = Cosmos3OmniTransformer(
        head_dim=6,
        hidden_size=12,
        intermediate_size=24,
        latent_channel=16,
        latent_patch_size=1,
        num_attention_heads=2,
        num_hidden_layers=2,
        num_key_value_heads=1,
        patch_latent_dim=16,
        rope_axes_dim=[1, 1, 1],
        vocab_size=10,
        sound_gen=True,
        sound_dim=4,
    ).eval()
    sounds = Sounds(sampling_rate=96)
    parts = {"transformer": transformer, "vae": wan_vae(), "text_tokenizer": Words(), "sound_tokenizer": sounds}
    return Cosmos3OmniPipeline(scheduler=unipc(), enable_safety_checker=False, **parts)


COSMOS3_PROMPT = {
    "prompt": "a dog",
    "negative_prompt": "a cat",
    "height": 16,
    "width": 16,
    "num_frames": 5,
    "guidance_scale": 3.0,
    "use_system_prompt": False,
}


@entry("cosmos", "Cosmos3OmniPipeline")
def cosmos3_video() -> Made:
    return cosmos3(), COSMOS3_PROMPT


@entry("cosmos", "Cosmos3OmniPipeline, with sound", note="a copy of the scheduler for the sound")
def cosmos3_sound() -> Made:
    return cosmos3(), COSMOS3_PROMPT | {"enable_sound": True}

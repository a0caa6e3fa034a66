"""Audio models."""

from typing import Any

import torch
from diffusers import (
    AceStepConditionEncoder,
    AceStepPipeline,
    AceStepTransformer1DModel,
    AutoencoderOobleck,
    AutoencoderSAME,
    LongCatAudioDiTPipeline,
    LongCatAudioDiTTransformer,
    LongCatAudioDiTVae,
    StableAudio3DiTModel,
    StableAudio3DurationEmbedder,
    StableAudio3Pipeline,
)

from tests.zoo.entries import Made, entry, euler, random
from tests.zoo.images import MASK, TEXTS
from tests.zoo.makers import MOMENTUM, answering


def longcat_audio(scheduler: Any = None) -> Any:
    transformer = LongCatAudioDiTTransformer(
        dit_dim=64, dit_depth=2, dit_heads=4, dit_text_dim=24, latent_dim=8, text_conv=False
    ).eval()
    vae = LongCatAudioDiTVae(
        in_channels=1,
        channels=16,
        c_mults=[1, 2],
        strides=[2],
        latent_dim=8,
        encoder_latent_dim=16,
        downsampling_ratio=2,
        sample_rate=240,
    ).eval()
    pipe = LongCatAudioDiTPipeline(vae=vae, transformer=transformer, scheduler=scheduler, **TEXTS)
    return answering(pipe, (random(1, 5, 24, seed=1), torch.tensor([5])))


RISING = {"displacement": "velocities", "tolerance": 1e-5, "note": "its sigmas rise"}
LONGCAT_INPUTS = {"prompt": "rain", "audio_duration_s": 0.1, "guidance_scale": 3.0}


@entry("audio", "LongCatAudioDiTPipeline", **RISING)
def longcat_audio_own_scheduler() -> Made:
    return longcat_audio(), LONGCAT_INPUTS


@entry("audio", "LongCatAudioDiTPipeline, falling sigmas")
def longcat_audio_euler() -> Made:
    return longcat_audio(euler()), LONGCAT_INPUTS


def stable_audio(**settings: Any) -> Made:
    transformer = StableAudio3DiTModel(
        io_channels=8,
        patch_size=1,
        embed_dim=32,
        depth=2,
        num_heads=4,
        cond_token_dim=24,
        global_cond_dim=24,
        local_add_cond_dim=5,
        timestep_features_dim=16,
        ff_mult=2,
        num_memory_tokens=3,
        use_differential_attention=False,
    ).eval()
    vae = AutoencoderSAME(
        audio_channels=2,
        patch_size=2,
        encoder_channels=8,
        encoder_c_mults=(2,),
        encoder_strides=(2,),
        encoder_transformer_depths=(1,),
        latent_dim=8,
        use_differential_attention=False,
        dim_heads=4,
        ff_mult=2,
        sampling_rate=16,
    ).eval()
    duration = StableAudio3DurationEmbedder(output_dim=24, fourier_dim=16).eval()
    scheduler = euler(num_train_timesteps=1, **settings)
    parts = {"vae": vae, "transformer": transformer, "duration_embedder": duration}
    inputs = {
        "prompt_embeds": random(1, 5, 24, seed=1),
        "encoder_attention_mask": MASK.bool(),
        "negative_prompt_embeds": random(1, 5, 24, seed=2),
        "negative_encoder_attention_mask": MASK.bool(),
        "guidance_scale": 3.0,
        "duration": 2.0,
    }
    return StableAudio3Pipeline(scheduler=scheduler, **parts, **TEXTS), inputs


@entry("audio", "StableAudio3Pipeline")
def stable_audio_base() -> Made:
    return stable_audio()


@entry("audio", "StableAudio3Pipeline, distilled", refused="stochastic")
def stable_audio_distilled() -> Made:
    return stable_audio(stochastic_sampling=True)


def ace_step() -> Any:
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    transformer = AceStepTransformer1DModel(
        num_hidden_layers=2, in_channels=24, audio_acoustic_hidden_dim=8, patch_size=2, sliding_window=16, **sizes
    ).eval()
    conditions = AceStepConditionEncoder(
        text_hidden_dim=24,
        timbre_hidden_dim=8,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
        sliding_window=16,
        **sizes,
    ).eval()
    vae = AutoencoderOobleck(
        encoder_hidden_size=6,
        downsampling_ratios=[1, 2],
        decoder_channels=3,
        decoder_input_channels=8,
        audio_channels=2,
        channel_multiples=[2, 4],
        sampling_rate=4,
    ).eval()
    parts = {"vae": vae, "transformer": transformer, "condition_encoder": conditions}
    pipe = AceStepPipeline(scheduler=euler(num_train_timesteps=1), **parts, **TEXTS)
    return answering(pipe, (random(1, 5, 24, seed=1), MASK, random(1, 5, 24, seed=2), MASK))


ACE_STEP_INPUTS = {"prompt": "a song", "audio_duration": 4.0}


@entry("audio", "AceStepPipeline", tolerance=0.05, note=MOMENTUM)
def ace_step_guided() -> Made:
    return ace_step(), ACE_STEP_INPUTS


@entry("audio", "AceStepPipeline, turbo", note="no guidance")
def ace_step_unguided() -> Made:
    return ace_step(), ACE_STEP_INPUTS | {"guidance_scale": 1.0}

"""Video models of other makers, and what does not solve a flow."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLCosmos,
    AutoencoderKLMagvit,
    AutoencoderKLMochi,
    Cosmos2_5_PredictBasePipeline,
    Cosmos2TextToImagePipeline,
    Cosmos2VideoToWorldPipeline,
    CosmosTextToWorldPipeline,
    CosmosTransformer3DModel,
    EasyAnimatePipeline,
    EasyAnimateTransformer3DModel,
    EDMEulerScheduler,
    LTXLatentUpsamplePipeline,
    MochiPipeline,
    MochiTransformer3DModel,
    MotifVideoPipeline,
    MotifVideoTransformer3DModel,
    SanaImageToVideoPipeline,
    SanaVideoPipeline,
    SanaVideoTransformer3DModel,
)
from diffusers.guiders import ClassifierFreeGuidance
from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel

from tests.zoo.entries import Made, StandIn, entry, euler, photo
from tests.zoo.images import GUIDED, PROMPT, TEXTS
from tests.zoo.video import ltx_vae
from tests.zoo.wan import unipc, wan_vae

EMPTY_STEP = "the pipeline shortens the last step to nothing after it has set the grid"
SIZE = {"height": 32, "width": 32}


def mochi(**settings: Any) -> Made:
    transformer = MochiTransformer3DModel(
        patch_size=2,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        text_embed_dim=24,
        time_embed_dim=4,
        max_sequence_length=16,
    ).eval()
    vae = AutoencoderKLMochi(
        latent_channels=12,
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    ).eval()
    pipe = MochiPipeline(scheduler=euler(**settings), vae=vae, transformer=transformer, **TEXTS)
    masks = {name: mask.bool() for name, mask in GUIDED.items() if "mask" in name}
    return pipe, GUIDED | masks | {"height": 16, "width": 16, "num_frames": 7}


@entry("mochi", "MochiPipeline")
def mochi_text_to_video() -> Made:
    return mochi()


@entry("mochi", "MochiPipeline, invert_sigmas", displacement="velocities", tolerance=1e-5, note="its sigmas rise")
def mochi_inverted() -> Made:
    return mochi(invert_sigmas=True)


@entry("easyanimate", "EasyAnimatePipeline")
def easy_animate() -> Made:
    transformer = EasyAnimateTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=24,
        num_layers=2,
        sample_width=16,
        sample_height=16,
        patch_size=2,
    ).eval()
    vae = AutoencoderKLMagvit(
        down_block_types=("SpatialDownBlock3D", *("SpatialTemporalDownBlock3D",) * 3),
        up_block_types=("SpatialUpBlock3D", *("SpatialTemporalUpBlock3D",) * 3),
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        spatial_group_norm=False,
    ).eval()
    pipe = EasyAnimatePipeline(scheduler=euler(shift=5.0), vae=vae, transformer=transformer, **TEXTS)
    return pipe, GUIDED | {"height": 16, "width": 16, "num_frames": 5}


def cosmos_transformer(in_channels: int, out_channels: int) -> CosmosTransformer3DModel:
    return CosmosTransformer3DModel(
        in_channels=in_channels,
        out_channels=out_channels,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        mlp_ratio=2,
        text_embed_dim=24,
        adaln_lora_dim=4,
        max_size=(4, 32, 32),
        patch_size=(1, 2, 2),
        rope_scale=(2.0, 1.0, 1.0),
        extra_pos_embed_type="learnable",
    ).eval()


class NoSafety(StandIn):
    """In place of Cosmos' guardrail."""

    def check_text_safety(self, prompt: str) -> bool:
        return True

    def check_video_safety(self, video: Any) -> Any:
        return video


def cosmos(kind: Any, scheduler: Any, in_channels: int = 16, vae: Any = None) -> Any:
    transformer = cosmos_transformer(in_channels, 4 if vae else 16)
    parts = {"vae": vae or wan_vae(), "transformer": transformer, "safety_checker": NoSafety()}
    return kind(scheduler=scheduler, **parts, **TEXTS)


@entry("cosmos", "CosmosTextToWorldPipeline", refused="EDMEulerScheduler")
def cosmos1() -> Made:
    vae = AutoencoderKLCosmos(
        latent_channels=4,
        encoder_block_out_channels=(8, 8, 8, 8),
        decode_block_out_channels=(8, 8, 8, 8),
        attention_resolutions=(8,),
        resolution=64,
        num_layers=2,
        patch_size=4,
        spatial_compression_ratio=4,
        temporal_compression_ratio=4,
    ).eval()
    scheduler = EDMEulerScheduler(sigma_min=0.002, sigma_max=80, sigma_data=0.5, final_sigmas_type="sigma_min")
    return cosmos(CosmosTextToWorldPipeline, scheduler, 4, vae), PROMPT | SIZE | {"num_frames": 9}


@entry("cosmos", "Cosmos2TextToImagePipeline", note=EMPTY_STEP)
def cosmos2_text_to_image() -> Made:
    return cosmos(Cosmos2TextToImagePipeline, euler(use_karras_sigmas=True)), PROMPT | SIZE


@entry("cosmos", "Cosmos2VideoToWorldPipeline", note=EMPTY_STEP)
def cosmos2_video_to_world() -> Made:
    inputs = PROMPT | SIZE | {"num_frames": 9, "image": photo()}
    return cosmos(Cosmos2VideoToWorldPipeline, euler(use_karras_sigmas=True), 17), inputs


@entry("cosmos", "Cosmos2_5_PredictBasePipeline")
def cosmos25_predict() -> Made:
    inputs = PROMPT | SIZE | {"num_frames": 5, "num_latent_conditional_frames": 1}
    return cosmos(Cosmos2_5_PredictBasePipeline, unipc(), 17), inputs


@entry("motif", "MotifVideoPipeline")
def motif() -> Made:
    transformer = MotifVideoTransformer3DModel(
        in_channels=33,
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_single_layers=1,
        patch_size=1,
        patch_size_t=1,
        qk_norm="rms_norm",
        text_embed_dim=24,
        rope_axes_dim=(4, 4, 4),
    ).eval()
    guider = ClassifierFreeGuidance(guidance_scale=3.0)
    parts = {"vae": wan_vae(), "transformer": transformer, "guider": guider}
    pipe = MotifVideoPipeline(scheduler=euler(shift=7.0), **parts, **TEXTS)
    inputs = {name: value for name, value in GUIDED.items() if name != "guidance_scale"}
    return pipe, inputs | {"height": 16, "width": 16, "num_frames": 9}


def sana_video(kind: Any, scheduler: Any) -> Any:
    transformer = SanaVideoTransformer3DModel(
        in_channels=16,
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=24,
        sample_size=8,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    ).eval()
    return kind(scheduler=scheduler, vae=wan_vae(), transformer=transformer, **TEXTS)


SANA_OPTIONS = {"frames": 9, "use_resolution_binning": False, "negative_prompt": None}


@entry("sana", "SanaVideoPipeline")
def sana_text_to_video() -> Made:
    return sana_video(SanaVideoPipeline, unipc()), GUIDED | SIZE | SANA_OPTIONS


@entry("sana", "SanaImageToVideoPipeline", note="the solver moves all frames but the first")
def sana_image_to_video() -> Made:
    return sana_video(SanaImageToVideoPipeline, euler(shift=3.0)), GUIDED | SIZE | SANA_OPTIONS | {"image": photo()}


@entry("ltx", "LTXLatentUpsamplePipeline", refused="no scheduler")
def ltx_upsample() -> Made:
    upsampler = LTXLatentUpsamplerModel(in_channels=8, mid_channels=32, num_blocks_per_stage=1)
    return LTXLatentUpsamplePipeline(vae=ltx_vae(), latent_upsampler=upsampler), {"latents": torch.zeros(1, 8, 2, 4, 4)}

"""Wan and the video models made from it."""

from typing import Any

from diffusers import (
    AnyFlowFARPipeline,
    AnyFlowFARTransformer3DModel,
    AnyFlowPipeline,
    AnyFlowTransformer3DModel,
    AutoencoderKLWan,
    ChronoEditPipeline,
    ChronoEditTransformer3DModel,
    FlowMapEulerDiscreteScheduler,
    LucyEditPipeline,
    SkyReelsV2DiffusionForcingImageToVideoPipeline,
    SkyReelsV2DiffusionForcingPipeline,
    SkyReelsV2DiffusionForcingVideoToVideoPipeline,
    SkyReelsV2ImageToVideoPipeline,
    SkyReelsV2Pipeline,
    SkyReelsV2Transformer3DModel,
    UniPCMultistepScheduler,
    WanAnimatePipeline,
    WanAnimateTransformer3DModel,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
    WanVideoToVideoPipeline,
)
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.zoo.entries import Made, entry, euler, nothing, photo, random

DIMENSIONS = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "out_channels": 16,
    "text_dim": 24,
    "freq_dim": 16,
    "ffn_dim": 32,
    "num_layers": 2,
    "cross_attn_norm": True,
    "rope_max_seq_len": 32,
}
PROMPT = {
    "prompt_embeds": random(1, 5, 24, seed=1),
    "negative_prompt_embeds": random(1, 5, 24, seed=2),
    "guidance_scale": 4.0,
}
SIZE = {"height": 16, "width": 16, "num_frames": 9}
VIDEO = [photo(16)] * 9
PHOTO = {"image": photo(16)}
SMALL_IMAGE = {"image_dim": 4}
IN_PLACE = "a copy of the scheduler for each frame, latents written in place"


def wan_vae(z_dim: int = 16, residual: bool = False) -> AutoencoderKLWan:
    special = {"in_channels": 12, "out_channels": 12, "is_residual": True, "patch_size": 2} if residual else {}
    scale = {"scale_factor_spatial": 16} if residual else {}
    return AutoencoderKLWan(
        base_dim=3,
        z_dim=z_dim,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * z_dim,
        latents_std=[1.0] * z_dim,
        **special,
        **scale,
    )


def unipc(shift: float = 3.0) -> UniPCMultistepScheduler:
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)


def wan_transformer(in_channels: int = 16, kind: Any = WanTransformer3DModel, **special: Any) -> Any:
    return kind(**DIMENSIONS | {"in_channels": in_channels} | special).eval()


def clip_encoder() -> dict[str, Any]:
    config = CLIPVisionConfig(
        hidden_size=4,
        intermediate_size=16,
        projection_dim=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=4,
        patch_size=1,
    )
    encoder = CLIPVisionModelWithProjection(config).eval()
    return {"image_encoder": encoder, "image_processor": CLIPImageProcessor(crop_size=4, size=4)}


def wan(kind: Any, **components: Any) -> Any:
    given = {"scheduler": unipc(), "vae": wan_vae(), "transformer": wan_transformer()}
    return kind(**given | nothing("text_encoder", "tokenizer") | components)


@entry("wan", "WanPipeline")
def text_to_video() -> Made:
    return wan(WanPipeline), PROMPT | SIZE


@entry("wan", "WanPipeline, Euler")
def text_to_video_euler() -> Made:
    return wan(WanPipeline, scheduler=euler(shift=7.0)), PROMPT | SIZE


@entry("wan", "WanPipeline, two experts", note="Wan 2.2: a second transformer takes over in mid-run")
def two_experts() -> Made:
    return wan(WanPipeline, transformer_2=wan_transformer(), boundary_ratio=0.8), PROMPT | SIZE


@entry("wan", "WanPipeline, expanded timesteps", note="Wan 2.2 TI2V: a timestep for each token")
def expanded_timesteps() -> Made:
    parts = {"vae": wan_vae(48, residual=True), "transformer": wan_transformer(48, out_channels=48)}
    return wan(WanPipeline, expand_timesteps=True, **parts), PROMPT | SIZE | {"height": 32, "width": 32}


@entry("wan", "WanImageToVideoPipeline")
def image_to_video() -> Made:
    pipe = wan(WanImageToVideoPipeline, transformer=wan_transformer(36, **SMALL_IMAGE), **clip_encoder())
    return pipe, PROMPT | SIZE | PHOTO


@entry("wan", "WanImageToVideoPipeline, first and last frame")
def first_and_last_frame() -> Made:
    transformer = wan_transformer(36, **SMALL_IMAGE, pos_embed_seq_len=2 * 17)
    pipe = wan(WanImageToVideoPipeline, transformer=transformer, **clip_encoder())
    return pipe, PROMPT | SIZE | PHOTO | {"last_image": photo(16)}


@entry("wan", "WanImageToVideoPipeline, two experts")
def image_to_video_two_experts() -> Made:
    parts = {"transformer": wan_transformer(36), "transformer_2": wan_transformer(36)}
    return wan(WanImageToVideoPipeline, boundary_ratio=0.8, **parts), PROMPT | SIZE | {"image": photo(16)}


@entry("wan", "WanImageToVideoPipeline, expanded timesteps", note="the first frame is put back before each call")
def image_to_video_expanded() -> Made:
    parts = {"vae": wan_vae(48, residual=True), "transformer": wan_transformer(48, out_channels=48)}
    pipe = wan(WanImageToVideoPipeline, expand_timesteps=True, **parts)
    return pipe, PROMPT | SIZE | {"height": 32, "width": 32, "image": photo()}


@entry("wan", "WanVideoToVideoPipeline, strength 0.7", num_steps=8)
def video_to_video() -> Made:
    inputs = {name: value for name, value in SIZE.items() if name != "num_frames"}
    return wan(WanVideoToVideoPipeline), PROMPT | inputs | {"video": VIDEO, "strength": 0.7}


@entry("wan", "WanVACEPipeline")
def vace() -> Made:
    special = {"vace_layers": [0, 1], "vace_in_channels": 96}
    pipe = wan(WanVACEPipeline, transformer=wan_transformer(kind=WanVACETransformer3DModel, **special))
    return pipe, PROMPT | SIZE | {"video": VIDEO, "mask": [photo(16)] * 9}


@entry("wan", "WanAnimatePipeline, two segments", note="timesteps set anew at the end of each segment")
def animate() -> Made:
    transformer = wan_transformer(
        36,
        WanAnimateTransformer3DModel,
        **SMALL_IMAGE,
        latent_channels=16,
        motion_encoder_channel_sizes={"4": 16, "8": 16, "16": 16},
        motion_encoder_size=16,
        motion_style_dim=8,
        motion_dim=4,
        motion_encoder_dim=16,
        face_encoder_hidden_dim=16,
        face_encoder_num_heads=2,
        inject_face_latents_blocks=2,
    )
    pipe = wan(WanAnimatePipeline, transformer=transformer, **clip_encoder())
    inputs = {
        "pose_video": VIDEO + VIDEO[1:],
        "face_video": VIDEO + VIDEO[1:],
        "segment_frame_length": 9,
    }
    sizes = {"height": 16, "width": 16, "guidance_scale": 1.0}
    return pipe, PROMPT | PHOTO | sizes | inputs


def skyreels(kind: Any, in_channels: int = 16, **components: Any) -> Any:
    special = SMALL_IMAGE if "ImageToVideo" in kind.__name__ else {}
    transformer = wan_transformer(in_channels, SkyReelsV2Transformer3DModel, **special, freq_dim=256)
    return wan(kind, scheduler=unipc(8.0), transformer=transformer, **components)


@entry("skyreels_v2", "SkyReelsV2Pipeline")
def skyreels_text_to_video() -> Made:
    return skyreels(SkyReelsV2Pipeline), PROMPT | SIZE


@entry("skyreels_v2", "SkyReelsV2ImageToVideoPipeline")
def skyreels_image_to_video() -> Made:
    pipe = skyreels(SkyReelsV2ImageToVideoPipeline, 36, **clip_encoder())
    return pipe, PROMPT | SIZE | PHOTO


@entry("skyreels_v2", "SkyReelsV2DiffusionForcingPipeline", note=IN_PLACE)
def diffusion_forcing() -> Made:
    return skyreels(SkyReelsV2DiffusionForcingPipeline), PROMPT | SIZE | {"prompt": None}


@entry("skyreels_v2", "SkyReelsV2DiffusionForcingPipeline, asynchronous", refused="at other times", calls_before=6)
def diffusion_forcing_asynchronous() -> Made:
    frames = {"ar_step": 2, "causal_block_size": 1}
    return skyreels(SkyReelsV2DiffusionForcingPipeline), PROMPT | SIZE | {"prompt": None} | frames


@entry("skyreels_v2", "SkyReelsV2DiffusionForcingPipeline, long video", note=IN_PLACE + ", several segments")
def diffusion_forcing_long() -> Made:
    frames = {"num_frames": 17, "base_num_frames": 9, "overlap_history": 5}
    return skyreels(SkyReelsV2DiffusionForcingPipeline), PROMPT | SIZE | {"prompt": None} | frames


@entry("skyreels_v2", "SkyReelsV2DiffusionForcingImageToVideoPipeline", note=IN_PLACE)
def diffusion_forcing_image_to_video() -> Made:
    pipe = skyreels(SkyReelsV2DiffusionForcingImageToVideoPipeline)
    return pipe, PROMPT | SIZE | {"image": photo(16)}


@entry("skyreels_v2", "SkyReelsV2DiffusionForcingVideoToVideoPipeline", note=IN_PLACE)
def diffusion_forcing_video_to_video() -> Made:
    frames = {"num_frames": 17, "base_num_frames": 9, "overlap_history": 5, "video": VIDEO}
    return skyreels(SkyReelsV2DiffusionForcingVideoToVideoPipeline), PROMPT | SIZE | frames


@entry("wan", "ChronoEditPipeline")
def chrono_edit() -> Made:
    transformer = wan_transformer(36, ChronoEditTransformer3DModel, **SMALL_IMAGE)
    pipe = wan(ChronoEditPipeline, transformer=transformer, **clip_encoder())
    return pipe, PROMPT | SIZE | PHOTO | {"num_frames": 5}


@entry("wan", "ChronoEditPipeline, temporal reasoning", note="the latents change their shape in mid-run")
def chrono_edit_reasoning() -> Made:
    transformer = wan_transformer(36, ChronoEditTransformer3DModel, **SMALL_IMAGE)
    pipe = wan(ChronoEditPipeline, transformer=transformer, **clip_encoder())
    reasoning = {"enable_temporal_reasoning": True, "num_temporal_reasoning_steps": 3}
    return pipe, PROMPT | SIZE | PHOTO | reasoning


@entry("wan", "LucyEditPipeline")
def lucy() -> Made:
    return wan(LucyEditPipeline, transformer=wan_transformer(32)), PROMPT | SIZE | {"video": VIDEO}


ANYFLOW = {"scheduler": FlowMapEulerDiscreteScheduler(shift=5.0)}


@entry("anyflow", "AnyFlowPipeline", refused="flow map|FlowMap")
def anyflow() -> Made:
    transformer = wan_transformer(kind=AnyFlowTransformer3DModel, gate_value=0.25, deltatime_type="r")
    return wan(AnyFlowPipeline, transformer=transformer, **ANYFLOW), PROMPT | SIZE


@entry("anyflow", "AnyFlowFARPipeline", refused="flow map|FlowMap")
def anyflow_far() -> Made:
    transformer = wan_transformer(
        kind=AnyFlowFARTransformer3DModel,
        compressed_patch_size=(1, 4, 4),
        full_chunk_limit=3,
        gate_value=0.25,
        deltatime_type="r",
        chunk_partition=(1, 1, 1),
    )
    return wan(AnyFlowFARPipeline, transformer=transformer, **ANYFLOW), PROMPT | SIZE

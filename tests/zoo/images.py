"""Image models of many makers, one or two pipelines each."""

from typing import Any

import torch
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderDC,
    AutoencoderKLFlux2,
    BriaPipeline,
    BriaTransformer2DModel,
    ChromaImg2ImgPipeline,
    ChromaInpaintPipeline,
    ChromaPipeline,
    ChromaTransformer2DModel,
    CogView4ControlPipeline,
    CogView4Pipeline,
    CogView4Transformer2DModel,
    Flux2KleinInpaintPipeline,
    Flux2KleinKVPipeline,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    SanaControlNetModel,
    SanaControlNetPipeline,
    SanaPAGPipeline,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
)

from tests.zoo.entries import Made, entry, euler, half_mask, image_vae, nothing, photo, picture, random

TEXTS = nothing("text_encoder", "tokenizer")
SIZE = {"height": 32, "width": 32}
IMAGE = {"image": picture(), **SIZE}
PAINTED = {**IMAGE, "mask_image": half_mask()}
PROMPT = {"prompt_embeds": random(1, 5, 24, seed=1), "negative_prompt_embeds": random(1, 5, 24, seed=2)}
MASK = torch.ones(1, 5, dtype=torch.long)
MASKS = {"prompt_attention_mask": MASK, "negative_prompt_attention_mask": MASK}
GUIDED = PROMPT | MASKS | {"guidance_scale": 3.0}


def chroma(kind: Any) -> Any:
    transformer = ChromaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        axes_dims_rope=(4, 4, 8),
        approximator_hidden_dim=32,
        approximator_layers=1,
        approximator_num_channels=16,
    ).eval()
    return kind(scheduler=euler(shift=3.0), vae=image_vae(4, levels=2), transformer=transformer, **TEXTS)


@entry("chroma", "ChromaPipeline")
def chroma_text_to_image() -> Made:
    masks = {name: mask.bool() for name, mask in MASKS.items()}
    return chroma(ChromaPipeline), GUIDED | masks | SIZE


@entry("chroma", "ChromaImg2ImgPipeline, strength 0.7", num_steps=8)
def chroma_img2img() -> Made:
    return chroma(ChromaImg2ImgPipeline), GUIDED | IMAGE | {"strength": 0.7}


@entry("chroma", "ChromaInpaintPipeline, strength 0.7", num_steps=8)
def chroma_inpaint() -> Made:
    pipe = chroma(ChromaInpaintPipeline)
    pipe.transformer.register_to_config(guidance_embeds=False)  # the pipeline asks for it, the class has none
    return pipe, GUIDED | PAINTED | {"strength": 0.7}


def flux2(kind: Any, guided: bool = False) -> Any:
    transformer = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        timestep_guidance_channels=256,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guided,
    ).eval()
    return kind(scheduler=euler(shift=3.0), vae=flux2_vae(), transformer=transformer, **TEXTS)


def flux2_vae() -> AutoencoderKLFlux2:
    return AutoencoderKLFlux2(
        sample_size=32,
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()


@entry("flux2", "Flux2Pipeline")
def flux2_text_to_image() -> Made:
    return flux2(Flux2Pipeline, guided=True), {"prompt_embeds": PROMPT["prompt_embeds"]} | SIZE


@entry("flux2", "Flux2KleinPipeline")
def flux2_klein() -> Made:
    return flux2(Flux2KleinPipeline), PROMPT | SIZE


@entry("flux2", "Flux2KleinPipeline, with an image")
def flux2_klein_edit() -> Made:
    return flux2(Flux2KleinPipeline), PROMPT | SIZE | {"image": photo(64)}


@entry("flux2", "Flux2KleinInpaintPipeline, strength 0.7", num_steps=8)
def flux2_klein_inpaint() -> Made:
    return flux2(Flux2KleinInpaintPipeline), PROMPT | PAINTED | {"strength": 0.7}


@entry("flux2", "Flux2KleinKVPipeline", note="step 0 fills a cache that the other steps read")
def flux2_klein_kv() -> Made:
    return flux2(Flux2KleinKVPipeline), {"prompt_embeds": PROMPT["prompt_embeds"]} | SIZE | {"image": photo(64)}


@entry("hidream", "HiDreamImagePipeline")
def hidream() -> Made:
    transformer = HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_channels=[24, 16],
        text_emb_dim=24,
        num_routed_experts=4,
        num_activated_experts=2,
        axes_dims_rope=(4, 2, 2),
        max_resolution=(32, 32),
        llama_layers=(0, 1),
    ).eval()
    numbers = ("", "_2", "_3", "_4")
    texts = nothing(*(f"{part}{number}" for part in ("text_encoder", "tokenizer") for number in numbers))
    pipe = HiDreamImagePipeline(
        scheduler=euler(shift=3.0), vae=image_vae(4, levels=2), transformer=transformer, **texts
    )
    pipe.default_sample_size = 16  # the class scales every size up to this one
    inputs = {
        "prompt_embeds_t5": random(1, 5, 24, seed=1),
        "prompt_embeds_llama3": random(2, 1, 5, 16, seed=2),
        "negative_prompt_embeds_t5": random(1, 5, 24, seed=3),
        "negative_prompt_embeds_llama3": random(2, 1, 5, 16, seed=4),
        "pooled_prompt_embeds": random(1, 24, seed=5),
        "negative_pooled_prompt_embeds": random(1, 24, seed=6),
    }
    return pipe, inputs | SIZE


def lumina2(kind: Any) -> Any:
    transformer = Lumina2Transformer2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=4,
        hidden_size=16,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(300, 64, 64),
        cap_feat_dim=24,
    ).eval()
    return kind(scheduler=euler(shift=3.0), vae=image_vae(4, levels=2), transformer=transformer, **TEXTS)


@entry("lumina", "Lumina2Pipeline")
def lumina2_text_to_image() -> Made:
    return lumina2(Lumina2Pipeline), GUIDED | SIZE


@entry("lumina", "Lumina2Pipeline, CFG truncation", note="a second call in the first half of the steps only")
def lumina2_cfg_truncation() -> Made:
    return lumina2(Lumina2Pipeline), GUIDED | SIZE | {"cfg_trunc_ratio": 0.5}


@entry("aura_flow", "AuraFlowPipeline")
def aura_flow() -> Made:
    transformer = AuraFlowTransformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=24,
        out_channels=4,
        pos_embed_max_size=256,
    ).eval()
    pipe = AuraFlowPipeline(scheduler=euler(shift=1.73), vae=image_vae(4, levels=2), transformer=transformer, **TEXTS)
    return pipe, GUIDED | SIZE


SANA = {
    "patch_size": 1,
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 4,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 4,
    "cross_attention_dim": 8,
    "caption_channels": 24,
    "sample_size": 32,
}
SANA_OPTIONS = {"use_resolution_binning": False, "complex_human_instruction": None, "negative_prompt": None}


def sana(kind: Any, scheduler: Any = None, **components: Any) -> Any:
    special = {"qk_norm": "rms_norm_across_heads", "guidance_embeds": True} if kind is SanaSprintPipeline else {}
    transformer = SanaTransformer2DModel(num_layers=2, **SANA, **special).eval()
    vae = AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
    ).eval()
    scheduler = scheduler or euler(shift=7.0)
    return kind(scheduler=scheduler, vae=vae, transformer=transformer, **TEXTS, **components)


@entry("sana", "SanaPipeline")
def sana_text_to_image() -> Made:
    return sana(SanaPipeline), GUIDED | SIZE | SANA_OPTIONS


@entry("sana", "SanaControlNetPipeline", note="the ControlNet runs at skipped steps too")
def sana_controlnet() -> Made:
    controlnet = SanaControlNetModel(num_layers=1, **SANA).eval()
    pipe = sana(SanaControlNetPipeline, controlnet=controlnet)
    return pipe, GUIDED | SIZE | SANA_OPTIONS | {"control_image": picture(seed=5)}


@entry("sana", "SanaPAGPipeline")
def sana_perturbed_attention() -> Made:
    return sana(SanaPAGPipeline), GUIDED | SIZE | SANA_OPTIONS | {"pag_scale": 0.7}


@entry("sana", "SanaSprintPipeline", num_steps=4, refused="SCMScheduler")
def sana_sprint() -> Made:
    inputs = {"prompt_embeds": PROMPT["prompt_embeds"], "prompt_attention_mask": MASK, "use_resolution_binning": False}
    pipe = sana(SanaSprintPipeline, scheduler=SCMScheduler())
    return pipe, inputs | SIZE | {"complex_human_instruction": None, "intermediate_timesteps": None}


def cogview4(kind: Any, in_channels: int = 4) -> Any:
    transformer = CogView4Transformer2DModel(
        patch_size=2,
        in_channels=in_channels,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=4,
        out_channels=4,
        text_embed_dim=24,
        time_embed_dim=8,
        condition_dim=4,
    ).eval()
    scheduler = euler(base_shift=0.25, max_shift=0.75, use_dynamic_shifting=True, time_shift_type="linear")
    return kind(scheduler=scheduler, vae=image_vae(4, levels=2), transformer=transformer, **TEXTS)


@entry("cogview4", "CogView4Pipeline")
def cogview4_text_to_image() -> Made:
    return cogview4(CogView4Pipeline), PROMPT | SIZE


@entry("cogview4", "CogView4ControlPipeline")
def cogview4_control() -> Made:
    return cogview4(CogView4ControlPipeline, 8), PROMPT | SIZE | {"control_image": picture(seed=5)}


@entry("bria", "BriaPipeline")
def bria() -> Made:
    transformer = BriaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=None,
        axes_dims_rope=(0, 4, 4),
    ).eval()
    pipe = BriaPipeline(scheduler=euler(shift=3.0), vae=image_vae(4, levels=2), transformer=transformer, **TEXTS)
    return pipe, PROMPT | SIZE

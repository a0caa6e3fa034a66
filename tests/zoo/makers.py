"""More image models; where a class insists on its text encoder, `encode_prompt` is answered in its place."""

from typing import Any

import torch
from diffusers import (
    AutoencoderTiny,
    BriaFiboPipeline,
    BriaFiboTransformer2DModel,
    DreamLitePipeline,
    DreamLiteUNetModel,
    ErnieImagePipeline,
    ErnieImageTransformer2DModel,
    HunyuanImagePipeline,
    HunyuanImageTransformer2DModel,
    Ideogram4Pipeline,
    Ideogram4Transformer2DModel,
    Krea2Pipeline,
    Krea2Transformer2DModel,
    LongCatImagePipeline,
    LongCatImageTransformer2DModel,
    NucleusMoEImagePipeline,
    NucleusMoEImageTransformer2DModel,
    OmniGenPipeline,
    OmniGenTransformer2DModel,
    OvisImagePipeline,
    OvisImageTransformer2DModel,
    PRXPipeline,
    PRXPixelPipeline,
    PRXTransformer2DModel,
)
from diffusers.guiders import AdaptiveProjectedMixGuidance, ClassifierFreeGuidance

from tests.zoo.entries import Made, PoolingVae, StandIn, entry, euler, image_vae, nothing, random
from tests.zoo.images import GUIDED, MASK, PROMPT, SIZE, TEXTS, flux2_vae
from tests.zoo.qwen_image import qwen_vae

PROMPT_MASKS = {"prompt_embeds_mask": MASK, "negative_prompt_embeds_mask": MASK}


MOMENTUM = "guidance keeps a momentum over the steps: at skipped steps it sees the last computed outputs again"


def answering(pipe: Any, *prompts: Any) -> Any:
    """The pipeline with its prompts already encoded; several prompts are answered in turn."""
    answers = iter(())

    def encode_prompt(*args: Any, **kwargs: Any) -> Any:
        nonlocal answers
        answer = next(answers, None)
        if answer is None:
            answers = iter(prompts)
            answer = next(answers)
        return answer

    pipe.encode_prompt = encode_prompt
    return pipe


@entry("bria", "BriaFiboPipeline")
def bria_fibo() -> Made:
    transformer = BriaFiboTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=48,
        text_encoder_dim=24,
        pooled_projection_dim=None,
        axes_dims_rope=(0, 4, 4),
    ).eval()
    vae = PoolingVae(4, downsamplings=3)
    pipe = BriaFiboPipeline(scheduler=euler(shift=3.0), vae=vae, transformer=transformer, **TEXTS)
    layers = [[random(1, 5, 24, seed=seed)] * 2 for seed in (1, 2)]
    ids = torch.zeros(1, 5, 3)
    embeds = random(1, 5, 48, seed=3), random(1, 5, 48, seed=4)
    return answering(pipe, (*embeds, ids, MASK, MASK, *layers)), SIZE | {"prompt": "a cat", "guidance_scale": 3.0}


@entry("ovis", "OvisImagePipeline")
def ovis() -> Made:
    transformer = OvisImageTransformer2DModel(
        patch_size=1,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        axes_dims_rope=(4, 4, 8),
    ).eval()
    pipe = OvisImagePipeline(scheduler=euler(shift=3.0), vae=image_vae(4, levels=2), transformer=transformer, **TEXTS)
    ids = torch.zeros(5, 3)
    return answering(pipe, (*PROMPT.values(), ids, ids)), SIZE | {"prompt": "a cat", "guidance_scale": 2.0}


def longcat(kind: Any) -> Any:
    transformer = LongCatImageTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=24,
        axes_dims_rope=(4, 4, 8),
    ).eval()
    parts = {"vae": image_vae(16, levels=2), "transformer": transformer, "text_processor": None}
    return kind(scheduler=euler(shift=3.0), **parts, **TEXTS)


@entry("longcat", "LongCatImagePipeline", note="guidance rescaled by norms")
def longcat_text_to_image() -> Made:
    ids = torch.zeros(5, 3)
    pipe = answering(longcat(LongCatImagePipeline), *((PROMPT[name], ids) for name in PROMPT))
    return pipe, SIZE | {"prompt": "a cat", "enable_prompt_rewrite": False}


def prx(kind: Any, in_channels: int = 4, **components: Any) -> Any:
    special = {"bottleneck_size": 8, "resolution_embeds": True} if kind is PRXPixelPipeline else {}
    transformer = PRXTransformer2DModel(
        patch_size=2,
        in_channels=in_channels,
        context_in_dim=24,
        hidden_size=8,
        mlp_ratio=2.0,
        num_heads=2,
        depth=2,
        axes_dim=[2, 2],
        **special,
    ).eval()
    return kind(scheduler=euler(shift=3.0), transformer=transformer, **TEXTS, **components)


@entry("prx", "PRXPipeline")
def prx_text_to_image() -> Made:
    masks = {name: mask.bool() for name, mask in GUIDED.items() if "mask" in name}
    pipe = prx(PRXPipeline, vae=image_vae(4, levels=2))
    return pipe, GUIDED | masks | SIZE | {"use_resolution_binning": False}


@entry("prx", "PRXPixelPipeline", note="no VAE: denoises pixels, the transformer predicts the clean image")
def prx_pixels() -> Made:
    masks = {name: mask.bool() for name, mask in GUIDED.items() if "mask" in name}
    return prx(PRXPixelPipeline, 3), GUIDED | masks | SIZE | {"use_resolution_binning": False, "output_type": "pt"}


def hunyuan_image(guider: Any, distilled: bool) -> Any:
    transformer = HunyuanImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=4,
        attention_head_dim=8,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        guidance_embeds=distilled,
        text_embed_dim=24,
        text_embed_2_dim=24,
        rope_axes_dim=(4, 4),
    ).eval()
    texts = nothing("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    vae = PoolingVae(4, downsamplings=1)
    vae.config.spatial_compression_ratio, vae.config.scaling_factor = 2, 1.0
    parts = {"vae": vae, "transformer": transformer, "guider": guider, "ocr_guider": None}
    return HunyuanImagePipeline(scheduler=euler(shift=7.0), **parts, **texts)


HUNYUAN_IMAGE_PROMPT = {
    **PROMPT,
    **PROMPT_MASKS,
    "prompt_embeds_2": random(1, 5, 24, seed=3),
    "prompt_embeds_mask_2": MASK,
    "negative_prompt_embeds_2": random(1, 5, 24, seed=4),
    "negative_prompt_embeds_mask_2": MASK,
    **SIZE,
}


@entry("hunyuan_image", "HunyuanImagePipeline, CFG guider")
def hunyuan_image_cfg() -> Made:
    return hunyuan_image(ClassifierFreeGuidance(guidance_scale=3.0), distilled=False), HUNYUAN_IMAGE_PROMPT


@entry("hunyuan_image", "HunyuanImagePipeline, APG guider", tolerance=0.01, note=MOMENTUM)
def hunyuan_image_apg() -> Made:
    guider = AdaptiveProjectedMixGuidance(guidance_scale=3.0, adaptive_projected_guidance_start_step=0)
    return hunyuan_image(guider, distilled=False), HUNYUAN_IMAGE_PROMPT


@entry("hunyuan_image", "HunyuanImagePipeline, distilled")
def hunyuan_image_distilled() -> Made:
    return hunyuan_image(
        ClassifierFreeGuidance(guidance_scale=3.0, enabled=False), distilled=True
    ), HUNYUAN_IMAGE_PROMPT


@entry("ernie_image", "ErnieImagePipeline")
def ernie() -> Made:
    transformer = ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=2,
        ffn_hidden_size=32,
        in_channels=4,
        out_channels=4,
        text_in_dim=24,
        rope_axes_dim=(4, 6, 6),
    ).eval()
    pipe = ErnieImagePipeline(scheduler=euler(shift=3.0), vae=flux2_vae(), transformer=transformer, **TEXTS)
    embeds = {name: [value[0]] for name, value in PROMPT.items()}
    return pipe, embeds | {"height": 64, "width": 64, "guidance_scale": 3.0}


@entry("krea2", "Krea2Pipeline")
def krea2() -> Made:
    transformer = Krea2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
        timestep_embed_dim=8,
        text_hidden_dim=16,
        num_text_layers=3,
        text_num_attention_heads=2,
        text_num_key_value_heads=1,
        text_intermediate_size=16,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 2, 2),
    ).eval()
    scheduler = euler(use_dynamic_shifting=True, max_shift=1.15, max_image_seq_len=6400)
    pipe = Krea2Pipeline(scheduler=scheduler, vae=qwen_vae(), transformer=transformer, **TEXTS)
    embeds = {name: random(1, 5, 3, 16, seed=seed) for seed, name in enumerate(PROMPT)}
    masks = {name: mask.bool() for name, mask in PROMPT_MASKS.items()}
    return pipe, embeds | masks | SIZE | {"guidance_scale": 3.0}


@entry("nucleus", "NucleusMoEImagePipeline")
def nucleus() -> Made:
    transformer = NucleusMoEImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=4,
        joint_attention_dim=24,
        axes_dims_rope=(8, 4, 4),
        moe_enabled=False,
        capacity_factors=[8.0, 8.0],
    ).eval()
    parts = {"vae": qwen_vae(), "transformer": transformer, "text_encoder": None, "processor": None}
    pipe = NucleusMoEImagePipeline(scheduler=euler(shift=3.0), **parts)
    return pipe, PROMPT | PROMPT_MASKS | SIZE | {"guidance_scale": 3.0}


def ideogram_transformer() -> Ideogram4Transformer2DModel:
    return Ideogram4Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        intermediate_size=32,
        adaln_dim=16,
        llm_features_dim=24,
        mrope_section=(4, 2, 2),
    ).eval()


@entry("ideogram4", "Ideogram4Pipeline", note="a transformer of its own for the unconditional branch")
def ideogram4() -> Made:
    parts = {"transformer": ideogram_transformer(), "unconditional_transformer": ideogram_transformer()}
    pipe = Ideogram4Pipeline(scheduler=euler(), vae=flux2_vae(), **parts, **TEXTS)
    num_tokens = 5 + 64
    positions = torch.arange(num_tokens)[None, :, None].expand(1, -1, 3)
    indicator = torch.tensor([[3] * 5 + [2] * 64])
    packed = random(1, num_tokens, 24, seed=1), positions, torch.zeros(1, num_tokens, dtype=torch.long), indicator
    options = {"prompt": "a cat", "max_sequence_length": 5, "guidance_scale": 3.0, "guidance_schedule": None}
    return answering(pipe, packed), SIZE | options


def dream_lite(kind: Any) -> Any:
    unet = DreamLiteUNetModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
        up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
        block_out_channels=(8, 16),
        cross_attention_dim=24,
        attention_head_dim=8,
        layers_per_block=1,
        norm_num_groups=8,
        transformer_layers_per_block=1,
    ).eval()
    vae = AutoencoderTiny(
        encoder_block_out_channels=(4, 4),
        decoder_block_out_channels=(4, 4),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=4,
    ).eval()
    parts = {"vae": vae, "unet": unet, "text_encoder": StandIn(), "tokenizer": None, "processor": None}
    return kind(scheduler=euler(), **parts)


@entry("dreamlite", "DreamLitePipeline", refused="no `transformer`")
def dream_lite_text_to_image() -> Made:
    prompts = random(2, 5, 24, seed=1), torch.ones(2, 5, dtype=torch.long)
    return answering(dream_lite(DreamLitePipeline), prompts), {"prompt": "a cat", "height": 64, "width": 64}


@entry("omnigen", "OmniGenPipeline", displacement="velocities", tolerance=1e-5, note="its sigmas rise")
def omnigen() -> Made:
    transformer = OmniGenTransformer2DModel(
        hidden_size=16,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=32,
        num_layers=1,
        in_channels=4,
        time_step_dim=4,
        rope_scaling={"long_factor": [1, 2], "short_factor": [1, 2]},
    ).eval()
    scheduler = euler(invert_sigmas=True, num_train_timesteps=1)
    pipe = OmniGenPipeline(scheduler=scheduler, vae=image_vae(4, levels=2), transformer=transformer, tokenizer=None)
    pipe.multimodal_processor = OmniGenInputs()
    return pipe, {"prompt": "a cat", "height": 16, "width": 16}


class OmniGenInputs:
    """In place of OmniGen's processor: two prompts of five tokens, before a time token and 16 image tokens."""

    max_image_size = 1024

    def __call__(self, prompt: Any, images: Any, **options: Any) -> dict[str, Any]:
        num_tokens = 5 + 1 + 16
        return {
            "input_ids": torch.arange(10).view(2, 5),
            "attention_mask": torch.ones(2, num_tokens, num_tokens, dtype=torch.long),
            "position_ids": torch.arange(num_tokens).expand(2, -1),
            "input_pixel_values": [],
            "input_image_sizes": {},
        }

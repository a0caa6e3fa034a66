"""The parts of a tiny HunyuanVideo, built with the real classes and small sizes."""

from functools import partial

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import HunyuanVideoCausalConv3d
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from embedded.families.family import Conditions, Family, TextPart
from embedded.families.flux import build_clip
from embedded.families.tokenizers import LLAMA_LENGTH, build_clip_tokenizer, build_llama_tokenizer
from embedded.training.options import TinyConfig

TEXT_LENGTH = 24
CLIP_LENGTH = 77  # fixed in the pipeline
SKIPPED_LAYERS = 2  # the pipeline reads the states before Llama's last two layers
TEMPLATE = DEFAULT_PROMPT_TEMPLATE["template"]
CROP = DEFAULT_PROMPT_TEMPLATE["crop_start"]


def build_llama(config: TinyConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaModel:
    """Llama with three layers that are read and the two that the pipeline skips."""
    width = config.width_text
    return LlamaModel(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=3 + SKIPPED_LAYERS,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=LLAMA_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def encode_llama(tokenizer: PreTrainedTokenizerFast, encoder: LlamaModel, texts: list[str]) -> Conditions:
    """States (B, L, D) of the words after the template's first 95 tokens, and their mask, as the pipeline gets them.

    Attention is causal, so the template's beginning is computed once for the batch, and no padding beyond the longest
    text is needed.
    """
    whole = tokenizer([TEMPLATE.format(text) for text in texts], padding=True, return_tensors="pt").to(encoder.device)
    cache = encoder(whole.input_ids[:1, :CROP], use_cache=True).past_key_values
    cache.batch_repeat_interleave(len(texts))
    read = encoder(
        whole.input_ids[:, CROP:],
        attention_mask=whole.attention_mask,
        past_key_values=cache,
        output_hidden_states=True,
    )
    states = read.hidden_states[-(SKIPPED_LAYERS + 1)]
    return {"encoder_hidden_states": states, "encoder_attention_mask": whole.attention_mask[:, CROP:]}


def encode_clip(tokenizer: CLIPTokenizer, encoder: CLIPTextModel, texts: list[str]) -> Conditions:
    """Pooled output (B, D); CLIP is causal too and its output stands at the last word."""
    ids = tokenizer(texts, padding=True, return_tensors="pt").input_ids.to(encoder.device)
    return {"pooled_projections": encoder(ids).pooler_output}


def build_vae(config: TinyConfig) -> AutoencoderKLHunyuanVideo:
    """A small autoencoder: f4, and four frames in one after the first; 9x64x64 px to 3x16x16 latents."""
    vae = AutoencoderKLHunyuanVideo(
        down_block_types=("HunyuanVideoDownBlock3D",) * 3,
        up_block_types=("HunyuanVideoUpBlock3D",) * 3,
        block_out_channels=(12, 24, 48),
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=4,
        spatial_compression_ratio=4,
        temporal_compression_ratio=4,
        mid_block_add_attention=False,
    )
    for module in vae.modules():
        if isinstance(module, HunyuanVideoCausalConv3d):
            module.forward = partial(_convolve, module)
    return vae.to(memory_format=torch.channels_last_3d)


def _convolve(conv: HunyuanVideoCausalConv3d, videos: Tensor) -> Tensor:
    """The causal convolution; of single frames, which its padding repeats in time, as one of pictures: faster."""
    if videos.shape[2] > 1:
        return HunyuanVideoCausalConv3d.forward(conv, videos)
    padded = functional.pad(videos[:, :, 0], conv.time_causal_padding[:4], mode=conv.pad_mode)
    inner = conv.conv
    return functional.conv2d(padded, inner.weight.sum(2), inner.bias, inner.stride[1:]).unsqueeze(2)


def moments(vae: AutoencoderKLHunyuanVideo, videos: Tensor) -> Tensor:
    """Mean and log variance (B, 2 C, t, h, w) of videos (B, 3, T, H, W)."""
    return vae.quant_conv(vae.encoder(videos))


def decode(vae: AutoencoderKLHunyuanVideo, latents: Tensor) -> Tensor:
    """Videos (B, 3, T, H, W) of latents (B, C, t, h, w), not clamped."""
    return vae.decoder(vae.post_quant_conv(latents))


def build_transformer(config: TinyConfig) -> HunyuanVideoTransformer3DModel:
    """HunyuanVideo's denoiser; an eighth of the head carries the time axis of the rotary embedding, as there."""
    image_axis = 2 * (config.head_dim * 7 // 32)
    frame_axis = config.head_dim - 2 * image_axis
    return HunyuanVideoTransformer3DModel(
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        num_attention_heads=config.num_heads,
        attention_head_dim=config.head_dim,
        num_layers=config.num_layers,
        num_single_layers=config.num_single_layers,
        num_refiner_layers=1,
        patch_size=2,
        patch_size_t=1,
        guidance_embeds=True,
        text_embed_dim=config.width_text,
        pooled_projection_dim=config.width_text,
        rope_axes_dim=(frame_axis, image_axis, image_axis),
    )


LLAMA = TextPart(
    name="llama",
    module="text_encoder",
    tokenizer="tokenizer",
    tokenizer_class=PreTrainedTokenizerFast,
    build_tokenizer=build_llama_tokenizer,
    build=build_llama,
    encode=encode_llama,
    lr=2e-3,
)
CLIP = TextPart(
    name="clip",
    module="text_encoder_2",
    tokenizer="tokenizer_2",
    tokenizer_class=CLIPTokenizer,
    build_tokenizer=partial(build_clip_tokenizer, length=CLIP_LENGTH),
    build=build_clip,
    encode=encode_clip,
    lr=1e-3,
    pooled=True,
)
HUNYUAN = Family(
    pipeline=HunyuanVideoPipeline,
    texts=(LLAMA, CLIP),
    nothing="",
    guidance=3.0,
    guidances=(1.0, 3.0, 6.0),
    options=lambda guidance: {"guidance_scale": guidance, "max_sequence_length": TEXT_LENGTH},
    distilled=True,
    build_vae=build_vae,
    moments=moments,
    decode=decode,
    latent_scale=lambda latents: (0.0, 1 / latents.std().item()),
    set_scale=lambda vae, shift, factor: vae.register_to_config(scaling_factor=factor),
    build_transformer=build_transformer,
    build_scheduler=lambda: FlowMatchEulerDiscreteScheduler(shift=7.0),
    layout=lambda side, device: {},
    pack=lambda latents: latents,
    clock=1000.0,
    whitens="context_embedder.proj_in",
)

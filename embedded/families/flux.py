"""The parts of a tiny FLUX, built with the real classes and small sizes."""

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

from embedded.families.family import Conditions, Family, TextPart
from embedded.families.tokenizers import T5_LENGTH, build_clip_tokenizer, build_t5_tokenizer
from embedded.training.options import TinyConfig


def build_clip(config: TinyConfig, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """CLIP's text encoder: its pooled output conditions the modulation."""
    width = config.width_text
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=width,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_t5(config: TinyConfig, tokenizer: T5TokenizerFast) -> T5EncoderModel:
    """T5's encoder: its tokens join the image tokens in attention."""
    width = config.width_text
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=width,
            d_kv=width // 4,
            d_ff=2 * width,
            num_layers=3,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        )
    )
    # T5's own start (0.09 here) hardly tells places apart; with it, binding words to the right object never took off.
    nn.init.normal_(encoder.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight, std=1.5)
    return encoder


def build_vae(config: TinyConfig) -> AutoencoderKL:
    """A small f4 autoencoder without attention, 64x64 px to 16x16 latents."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=8,
        sample_size=config.picture_size,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
    )
    return vae.to(memory_format=torch.channels_last)


def build_transformer(config: TinyConfig) -> FluxTransformer2DModel:
    """FLUX's denoiser; a quarter of the head carries the text axis of the rotary embedding, as in FLUX.1."""
    text_axis = config.head_dim // 4
    image_axis = (config.head_dim - text_axis) // 2
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * config.latent_channels,
        num_layers=config.num_layers,
        num_single_layers=config.num_single_layers,
        attention_head_dim=config.head_dim,
        num_attention_heads=config.num_heads,
        joint_attention_dim=config.width_text,
        pooled_projection_dim=config.width_text,
        guidance_embeds=True,
        axes_dims_rope=(text_axis, image_axis, image_axis),
    )


def build_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """FLUX.1-dev's scheduler; our 64 image tokens get the time shift (mu = 1.15) that its 4096 tokens get."""
    return FlowMatchEulerDiscreteScheduler(
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=16,
        max_image_seq_len=64,
    )


def token_ids(tokenizer: CLIPTokenizer | T5TokenizerFast, texts: list[str]) -> Tensor:
    """Token ids (B, max_length), padded and cut exactly as FluxPipeline does."""
    length = tokenizer.model_max_length
    return tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids


def encode_t5(tokenizer: T5TokenizerFast, encoder: T5EncoderModel, texts: list[str]) -> Conditions:
    """States (B, L, D), padding included: FluxPipeline passes no mask."""
    states = encoder(token_ids(tokenizer, texts).to(encoder.device)).last_hidden_state
    return {"encoder_hidden_states": states}


def encode_clip(tokenizer: CLIPTokenizer, encoder: CLIPTextModel, texts: list[str]) -> Conditions:
    """Pooled output (B, D)."""
    return {"pooled_projections": encoder(token_ids(tokenizer, texts).to(encoder.device)).pooler_output}


def layout(side: int, device: str) -> Conditions:
    """Positions of text and image tokens."""
    return {
        "txt_ids": torch.zeros(T5_LENGTH, 3, device=device),
        "img_ids": FluxPipeline._prepare_latent_image_ids(1, side, side, device, torch.float32),
    }


T5 = TextPart(
    name="t5",
    module="text_encoder_2",
    tokenizer="tokenizer_2",
    tokenizer_class=T5TokenizerFast,
    build_tokenizer=build_t5_tokenizer,
    build=build_t5,
    encode=encode_t5,
    lr=2e-3,
)
CLIP = TextPart(
    name="clip",
    module="text_encoder",
    tokenizer="tokenizer",
    tokenizer_class=CLIPTokenizer,
    build_tokenizer=build_clip_tokenizer,
    build=build_clip,
    encode=encode_clip,
    lr=1e-3,
    pooled=True,
)
FLUX = Family(
    pipeline=FluxPipeline,
    texts=(T5, CLIP),
    nothing="",
    guidance=3.5,
    guidances=(1.0, 2.0, 3.5, 5.0),
    options=lambda guidance: {"guidance_scale": guidance, "max_sequence_length": T5_LENGTH},
    distilled=True,
    build_vae=build_vae,
    moments=lambda vae, pictures: vae.encoder(pictures),
    decode=lambda vae, latents: vae.decoder(latents),
    latent_scale=lambda latents: (latents.mean().item(), 1 / latents.std().item()),
    set_scale=lambda vae, shift, factor: vae.register_to_config(scaling_factor=factor, shift_factor=shift),
    build_transformer=build_transformer,
    build_scheduler=build_scheduler,
    layout=layout,
    pack=lambda latents: FluxPipeline._pack_latents(latents, *latents.shape),
)

"""The parts of a tiny FLUX, built with the real classes and small sizes."""

from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

from experiments.tiny.config import TinyConfig
from experiments.tiny.draw import SIZE
from experiments.tiny.tokens import CLIP_LENGTH


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
            max_position_embeddings=CLIP_LENGTH,
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
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
    )


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

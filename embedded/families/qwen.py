"""The parts of a tiny Qwen-Image, built with the real classes and small sizes."""

from functools import partial
from typing import Any

from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from embedded.families.family import Conditions, Family, TextPart
from embedded.families.tokenizers import QWEN_LENGTH, build_qwen_tokenizer
from embedded.training.options import TinyConfig


def build_text_encoder(config: TinyConfig, tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    """Qwen2.5-VL with three causal layers; its eyes are there, as the class wants them, and stay closed."""
    width = config.width_text
    ids = tokenizer.convert_tokens_to_ids
    head_dim = width // 4
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config={
                "vocab_size": len(tokenizer),
                "hidden_size": width,
                "intermediate_size": 2 * width,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "max_position_embeddings": QWEN_LENGTH,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 1e6,
                    "mrope_section": [head_dim // 2 - 2 * (head_dim // 6), head_dim // 6, head_dim // 6],
                },
                "bos_token_id": ids("<|endoftext|>"),
                "eos_token_id": ids("<|im_end|>"),
                "pad_token_id": ids("<|endoftext|>"),
            },
            vision_config={
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 1,
                "out_hidden_size": width,
                "fullatt_block_indexes": [0],
            },
            image_token_id=ids("<|image_pad|>"),
            video_token_id=ids("<|video_pad|>"),
            vision_start_token_id=ids("<|vision_start|>"),
            vision_end_token_id=ids("<|vision_end|>"),
            tie_word_embeddings=True,
        )
    )


def encode_prompts(
    tokenizer: Qwen2Tokenizer, encoder: Qwen2_5_VLForConditionalGeneration, texts: list[str]
) -> Conditions:
    """States (B, L, D) of the words after the template's first 34 tokens, and their mask, by the pipeline itself."""
    parts = dict.fromkeys(("scheduler", "vae", "transformer"))
    pipe = QwenImagePipeline(text_encoder=encoder, tokenizer=tokenizer, **parts)
    states, mask = pipe.encode_prompt(texts, device=encoder.device)
    return {"encoder_hidden_states": states, "encoder_hidden_states_mask": mask}


def build_vae(config: TinyConfig) -> AutoencoderKLQwenImage:
    """A small f8 autoencoder, 128x128 px to 16x16 latents.

    It is causal in time and sees single pictures only, so all but the last slice of each kernel in time meets padding:
    those slices are zero, and training leaves them out, which is three times faster.
    """
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=config.latent_channels,
        dim_mult=[1, 2, 4, 6],
        num_res_blocks=1,
        temperal_downsample=[False, False, False],
        latents_mean=[0.0] * config.latent_channels,
        latents_std=[1.0] * config.latent_channels,
    )
    for module in vae.modules():
        if isinstance(module, QwenImageCausalConv3d):
            nn.init.zeros_(module.weight[:, :, :-1])
            module.forward = partial(_convolve_picture, module)
    return vae


def _convolve_picture(conv: QwenImageCausalConv3d, video: Tensor, before: Tensor | None = None) -> Tensor:
    """The causal convolution of a video (B, C, 1, H, W) with nothing before it."""
    assert video.shape[2] == 1 and before is None, video.shape
    size = conv.kernel_size[-1]
    return functional.conv2d(video[:, :, 0], conv.weight[:, :, -1], conv.bias, padding=size // 2).unsqueeze(2)


def moments(vae: AutoencoderKLQwenImage, pictures: Tensor) -> Tensor:
    """Mean and log variance (B, 2 C, h, w) of pictures (B, 3, H, W)."""
    return vae.quant_conv(vae.encoder(pictures.unsqueeze(2))).squeeze(2)


def decode(vae: AutoencoderKLQwenImage, latents: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) of latents (B, C, h, w), not clamped."""
    return vae.decoder(vae.post_quant_conv(latents.unsqueeze(2))).squeeze(2)


def latent_scale(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and factor (1, C, 1, 1): Qwen-Image normalises every channel by itself."""
    axes = (0, 2, 3)
    return latents.mean(axes, keepdim=True), 1 / latents.std(axes, keepdim=True)


def set_scale(vae: AutoencoderKLQwenImage, shift: Tensor, factor: Tensor) -> None:
    """Write the channels' means and deviations into the config."""
    vae.register_to_config(latents_mean=shift.flatten().tolist(), latents_std=(1 / factor).flatten().tolist())


def build_transformer(config: TinyConfig) -> QwenImageTransformer2DModel:
    """Qwen-Image's denoiser; an eighth of the head carries the time axis of the rotary embedding, as there."""
    image_axis = 2 * (config.head_dim * 7 // 32)
    frame_axis = config.head_dim - 2 * image_axis
    return QwenImageTransformer2DModel(
        in_channels=4 * config.latent_channels,
        out_channels=config.latent_channels,
        num_layers=config.num_layers,
        attention_head_dim=config.head_dim,
        num_attention_heads=config.num_heads,
        joint_attention_dim=config.width_text,
        axes_dims_rope=(frame_axis, image_axis, image_axis),
    )


def build_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Qwen-Image's scheduler; our 64 image tokens get the time shift (mu = 0.791) of its 6032 tokens at 1664x928."""
    return FlowMatchEulerDiscreteScheduler(
        shift=1.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=0.5 + (0.9 - 0.5) * (6032 - 256) / (8192 - 256),
        base_image_seq_len=16,
        max_image_seq_len=64,
        shift_terminal=0.02,
        time_shift_type="exponential",
    )


def layout(side: int, device: str) -> dict[str, Any]:
    """One picture of side x side tokens."""
    return {"img_shapes": [[(1, side, side)]]}


NOTHING = " "
QWEN = Family(
    pipeline=QwenImagePipeline,
    texts=(
        TextPart(
            name="qwen",
            module="text_encoder",
            tokenizer="tokenizer",
            tokenizer_class=Qwen2Tokenizer,
            build_tokenizer=build_qwen_tokenizer,
            build=build_text_encoder,
            encode=encode_prompts,
            lr=2e-3,
        ),
    ),
    nothing=NOTHING,
    guidance=4.0,
    guidances=(1.0, 2.0, 4.0, 6.0),
    options=lambda guidance: {"true_cfg_scale": guidance, "negative_prompt": NOTHING},
    distilled=False,
    build_vae=build_vae,
    moments=moments,
    decode=decode,
    latent_scale=latent_scale,
    set_scale=set_scale,
    build_transformer=build_transformer,
    build_scheduler=build_scheduler,
    layout=layout,
    pack=lambda latents: QwenImagePipeline._pack_latents(latents, *latents.shape),
)

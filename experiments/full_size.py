"""The full-size pipelines of the paper's Table 1 without their weights: every module on the meta device.

Architectures are those of the published config.json files: black-forest-labs/FLUX.1-dev and Qwen/Qwen-Image.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    T5Config,
    T5EncoderModel,
)

CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
T5_XXL = {
    "d_model": 4096,
    "d_ff": 10240,
    "d_kv": 64,
    "num_heads": 64,
    "num_layers": 24,
    "vocab_size": 32128,
    "feed_forward_proj": "gated-gelu",
}
QWEN_VL_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
}
QWEN_VL_VISION = {"hidden_size": 1280, "intermediate_size": 3420, "depth": 32, "num_heads": 16, "out_hidden_size": 3584}
FLUX_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 16,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def flux() -> Any:
    """FLUX.1-dev: 19 double-stream and 38 single-stream blocks, T5-XXL and CLIP-L."""
    transformer = FluxTransformer2DModel(
        in_channels=64,
        num_layers=19,
        num_single_layers=38,
        attention_head_dim=128,
        num_attention_heads=24,
        joint_attention_dim=4096,
        pooled_projection_dim=768,
        guidance_embeds=True,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        transformer=transformer,
        vae=AutoencoderKL(**FLUX_VAE),
        text_encoder=CLIPTextModel(CLIPTextConfig(**CLIP_L)),
        text_encoder_2=T5EncoderModel(T5Config(**T5_XXL)),
        tokenizer=None,
        tokenizer_2=None,
    )


def qwen_image() -> Any:
    """Qwen-Image: 60 double-stream blocks, Qwen2.5-VL-7B."""
    transformer = QwenImageTransformer2DModel(
        in_channels=64,
        out_channels=16,
        num_layers=60,
        attention_head_dim=128,
        num_attention_heads=24,
        joint_attention_dim=3584,
    )
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        transformer=transformer,
        vae=AutoencoderKLQwenImage(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(text_config=QWEN_VL_7B, vision_config=QWEN_VL_VISION)
        ),
        tokenizer=None,
    )


def without_weights(make: Callable[[], Any]) -> Any:
    """A pipeline with all of its modules on the meta device."""
    with torch.device("meta"):
        return make()


def random_flux(device: str, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """FLUX.1-dev with random weights on a device, and inputs for it: embeddings, since it has no tokenizer."""
    pipe = _with_random_weights(without_weights(flux), device, dtype)
    embeds = torch.randn(1, 512, 4096, dtype=dtype, device=device)
    return pipe, {"prompt_embeds": embeds, "pooled_prompt_embeds": torch.randn(1, 768, dtype=dtype, device=device)}


def _with_random_weights(pipe: Any, device: str, dtype: torch.dtype) -> Any:
    """Materialise a pipeline's denoiser and VAE with small random weights; text encoders stay without."""
    for module in (pipe.transformer, pipe.vae):
        module.to(dtype).to_empty(device=device).eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
    pipe.register_modules(text_encoder=None, text_encoder_2=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


RANDOM: dict[str, Callable[[str, torch.dtype], tuple[Any, dict[str, Any]]]] = {"flux": random_flux}

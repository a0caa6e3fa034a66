"""Full-size pipelines with random weights: what a step costs does not depend on what the weights are.

They have no text encoders; prompts come as random embeddings, with as many tokens as in the paper's FLOPs.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenEmbedRope
from torch import Tensor, nn

from experiments.full_size.paper_models import flux, hunyuan_video, qwen_image, without_weights
from meancache.config import ModelConfig
from meancache.pipelines import DTYPES

Inputs = dict[str, Any]
Random = Callable[..., Tensor]  # of this shape, with a batch of one in front


def _flux_inputs(config: Any, random: Random) -> Inputs:
    return {
        "prompt_embeds": random(512, config.joint_attention_dim),
        "pooled_prompt_embeds": random(config.pooled_projection_dim),
    }


def _qwen_image_inputs(config: Any, random: Random) -> Inputs:
    prompts = {"prompt_embeds": 19, "negative_prompt_embeds": 6}
    embeds = {name: random(tokens, config.joint_attention_dim) for name, tokens in prompts.items()}
    masks = {f"{name}_mask": torch.ones(1, tokens, device=embeds[name].device) for name, tokens in prompts.items()}
    return {**embeds, **masks, "negative_prompt": None}


def _hunyuan_video_inputs(config: Any, random: Random) -> Inputs:
    embeds = random(256, config.text_embed_dim)
    mask = torch.arange(256, device=embeds.device)[None] < 32  # the rest is padding, which is computed all the same
    return {
        "prompt_embeds": embeds,
        "prompt_attention_mask": mask,
        "pooled_prompt_embeds": random(config.pooled_projection_dim),
    }


FULL_SIZE: dict[str, tuple[Callable[[], Any], Callable[[Any, Random], Inputs]]] = {
    "flux": (flux, _flux_inputs),
    "qwen_image": (qwen_image, _qwen_image_inputs),
    "hunyuan_video": (hunyuan_video, _hunyuan_video_inputs),
}


def random_pipeline(model: ModelConfig, device: str) -> tuple[Any, Inputs]:
    """A model's full-size pipeline with random denoiser and VAE on a device, and arguments of a call that suit it.

    Raises:
        ValueError: a model whose architecture is not written down here.
    """
    if model.name not in FULL_SIZE:
        raise ValueError(f"weights=random is there for {', '.join(FULL_SIZE)}, not for {model.name}")
    make, inputs = FULL_SIZE[model.name]
    pipe = without_weights(make)
    _fill(pipe.transformer, device, DTYPES[model.dtype])
    _fill(pipe.vae, device, DTYPES[model.vae_dtype or model.dtype])
    pipe.register_modules(**{name: None for name in pipe.components if name.startswith("text_encoder")})
    pipe.set_progress_bar_config(disable=True)

    def random(*shape: int) -> Tensor:
        return torch.randn(1, *shape, dtype=DTYPES[model.dtype], device=device)

    return pipe, inputs(pipe.transformer.config, random)


def _fill(module: nn.Module, device: str, dtype: torch.dtype) -> None:
    module.to(dtype).to_empty(device=device).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.02)
    for name, child in module.named_children():
        if isinstance(child, QwenEmbedRope):  # a table and no weight: it is on the meta device too
            setattr(module, name, QwenEmbedRope(child.theta, child.axes_dim, child.scale_rope))

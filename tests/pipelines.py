"""Tiny random pipelines: real classes, no text encoder, no VAE; callers hand in prompt embeddings.

And what tests do with them: run one with a method attached.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)

from meancache.method import Full
from meancache.models import adapter_for
from meancache.schedule import Schedule
from meancache.session import Session, attach

NUM_STEPS = 12
HEADS = {"attention_head_dim": 16, "num_attention_heads": 2}


class RandomPipeline:
    """A pipeline with fixed random inputs: ``run(seed)`` gives the final latents."""

    def __init__(self, pipe: Any, inputs: Callable[[int], dict[str, Any]]) -> None:
        pipe.set_progress_bar_config(disable=True)
        self.pipe = pipe
        self.inputs = inputs

    def run(self, *seeds: int, num_steps: int = NUM_STEPS, **options: Any) -> torch.Tensor:
        seeds = seeds or (0,)
        rows = [self.inputs(seed) for seed in seeds]
        batch = {key: _batched([row[key] for row in rows]) for key in rows[0]}
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        settings = {"generator": generators, "output_type": "latent", "num_inference_steps": num_steps}
        return self.pipe(**batch | settings | options, return_dict=False)[0]


def _batched(values: list[Any]) -> Any:
    """Tensors and lists (Z-Image's prompts) of several prompts as one; settings as they are."""
    if torch.is_tensor(values[0]):
        return torch.cat(values)
    return [item for value in values for item in value] if isinstance(values[0], list) else values[0]


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))


def _flux() -> Any:
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        joint_attention_dim=24,
        pooled_projection_dim=24,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
        **HEADS,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    return FluxPipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def _flux_inputs(seed: int) -> dict[str, Any]:
    embeds = {"prompt_embeds": _random(seed + 100, 5, 24), "pooled_prompt_embeds": _random(seed + 200, 24)}
    return embeds | {"height": 64, "width": 64}


def _qwen() -> Any:
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=3,
        joint_attention_dim=24,
        axes_dims_rope=(4, 4, 8),
        **HEADS,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
    )
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    return QwenImagePipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def _qwen_inputs(seed: int) -> dict[str, Any]:
    mask = torch.ones(1, 5, dtype=torch.long)
    return {
        "prompt_embeds": _random(seed + 100, 5, 24),
        "prompt_embeds_mask": mask,
        "negative_prompt_embeds": _random(seed + 200, 5, 24),
        "negative_prompt_embeds_mask": mask,
        "height": 64,
        "width": 64,
        "true_cfg_scale": 4.0,
    }


def _hunyuan_video() -> Any:
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        num_single_layers=2,
        num_refiner_layers=1,
        text_embed_dim=24,
        pooled_projection_dim=24,
        rope_axes_dim=(4, 6, 6),
        **HEADS,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=7.0)
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    return HunyuanVideoPipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def _hunyuan_video_inputs(seed: int) -> dict[str, Any]:
    mask = {"prompt_attention_mask": torch.tensor([[1, 1, 1, 1, 0]])}  # the last text token is padding
    return _flux_inputs(seed) | mask | {"num_frames": 5}


def _z_image() -> Any:
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=3,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=24,
        axes_dims=[4, 6, 6],
        axes_lens=[128, 16, 16],
    )
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return ZImagePipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def _z_image_inputs(seed: int) -> dict[str, Any]:
    prompts = {
        "prompt_embeds": [_random(seed + 100, 5, 24)[0]],
        "negative_prompt_embeds": [_random(seed + 200, 5, 24)[0]],
    }
    return prompts | {"height": 64, "width": 64, "guidance_scale": 3.0}


def _wan(boundary_ratio: float | None = None) -> Any:
    denoisers = [_wan_transformer() for _ in range(1 if boundary_ratio is None else 2)]
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return WanPipeline(
        scheduler=scheduler,
        boundary_ratio=boundary_ratio,
        **dict(zip(("transformer", "transformer_2"), denoisers)),
        **dict.fromkeys(("vae", "text_encoder", "tokenizer")),
    )


def _wan_transformer() -> Any:
    return WanTransformer3DModel(
        in_channels=4,
        out_channels=4,
        text_dim=24,
        freq_dim=16,
        ffn_dim=64,
        num_layers=3,
        rope_max_seq_len=32,
        **HEADS,
    ).eval()


def _wan_inputs(seed: int) -> dict[str, Any]:
    return {
        "prompt_embeds": _random(seed + 100, 5, 24),
        "negative_prompt_embeds": _random(seed + 200, 5, 24),
        "height": 64,
        "width": 64,
        "num_frames": 5,
        "guidance_scale": 4.0,
    }


FAMILIES = {
    "flux": (_flux, _flux_inputs),
    "qwen_image": (_qwen, _qwen_inputs),
    "hunyuan_video": (_hunyuan_video, _hunyuan_video_inputs),
    "z_image": (_z_image, _z_image_inputs),
    "wan": (_wan, _wan_inputs),
}
NUM_BRANCHES = {"flux": 1, "qwen_image": 2, "hunyuan_video": 1, "z_image": 1, "wan": 2}  # denoiser calls a step


@functools.cache
def random_pipeline_of(family: str) -> RandomPipeline:
    """The tiny pipeline of a model family, named as its adapter is."""
    make, inputs = FAMILIES[family]
    torch.manual_seed(0)
    return RandomPipeline(make(), inputs)


@functools.cache
def two_expert_wan(boundary_ratio: float) -> RandomPipeline:
    """Wan 2.2: below this noise level a second transformer takes over."""
    torch.manual_seed(0)
    return RandomPipeline(_wan(boundary_ratio), _wan_inputs)


def attached(
    pipeline: RandomPipeline, method: Any, *seeds: int, keep: bool = False, **options: Any
) -> tuple[torch.Tensor, Session]:
    """Final latents and session of one run with a method; ``keep`` its trajectory and states."""
    with attach(pipeline.pipe, adapter_for(pipeline.pipe), method, keep=keep) as session:
        return pipeline.run(*seeds, **options), session


@functools.cache
def schedule_of(pipeline: RandomPipeline, num_steps: int = NUM_STEPS) -> Schedule:
    """The sigma grid that a pipeline runs on."""
    return attached(pipeline, Full(), num_steps=num_steps)[1].run.schedule

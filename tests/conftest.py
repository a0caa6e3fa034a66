"""Tiny random pipelines: real classes, no text encoder, no VAE; callers hand in prompt embeddings."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)

torch.set_num_threads(1)

NUM_STEPS = 12


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu skip where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _flux() -> Any:
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=24,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    return FluxPipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def _qwen() -> Any:
    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        axes_dims_rope=(4, 4, 8),
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
    )
    return QwenImagePipeline(
        scheduler=scheduler, vae=None, text_encoder=None, tokenizer=None, transformer=transformer.eval()
    )


class RandomPipeline:
    """A pipeline with fixed random inputs: ``run(seed)`` gives the final latents."""

    def __init__(self, pipe: Any, inputs: Callable[[int, int], dict[str, Any]]) -> None:
        pipe.set_progress_bar_config(disable=True)
        self.pipe = pipe
        self.inputs = inputs

    def run(self, *seeds: int, num_steps: int = NUM_STEPS, **options: Any) -> torch.Tensor:
        rows = [self.inputs(seed, num_steps) for seed in seeds or (0,)]
        tensors = {
            key: torch.cat([row[key] for row in rows]) for key, value in rows[0].items() if torch.is_tensor(value)
        }
        settings = {key: value for key, value in rows[0].items() if not torch.is_tensor(value)}
        generators = [torch.Generator().manual_seed(seed) for seed in seeds or (0,)]
        return self.pipe(**tensors, **settings | {"generator": generators, "output_type": "latent"} | options).images


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))


def _flux_inputs(seed: int, num_steps: int) -> dict[str, Any]:
    embeds = {"prompt_embeds": _random(seed + 100, 5, 24), "pooled_prompt_embeds": _random(seed + 200, 24)}
    return embeds | {"height": 64, "width": 64, "num_inference_steps": num_steps}


def _qwen_inputs(seed: int, num_steps: int) -> dict[str, Any]:
    mask = torch.ones(1, 5, dtype=torch.long)
    return {
        "prompt_embeds": _random(seed + 100, 5, 24),
        "prompt_embeds_mask": mask,
        "negative_prompt_embeds": _random(seed + 200, 5, 24),
        "negative_prompt_embeds_mask": mask,
        "height": 64,
        "width": 64,
        "num_inference_steps": num_steps,
        "true_cfg_scale": 4.0,
    }


@pytest.fixture(scope="session")
def random_flux() -> RandomPipeline:
    return RandomPipeline(_flux(), _flux_inputs)


@pytest.fixture(scope="session")
def random_qwen() -> RandomPipeline:
    return RandomPipeline(_qwen(), _qwen_inputs)


@pytest.fixture(params=["random_flux", "random_qwen"])
def random_pipeline(request: pytest.FixtureRequest) -> RandomPipeline:
    """Each model family in turn."""
    return request.getfixturevalue(request.param)

"""What model and runtime ask of a pipeline is applied to all of it, or refused in one line."""

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from experiments.compose import compose_config
from experiments.job import Job
from meancache.config import RunConfig
from meancache.pipelines import _load, load_pipeline, prepare
from tests.pipelines import FAMILIES, RandomPipeline, random_pipeline_of, two_expert_wan


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return compose_config()


@pytest.fixture
def pipeline(request: pytest.FixtureRequest) -> RandomPipeline:
    """A tiny pipeline to change; ``wan2.2`` has two denoisers."""
    shared = two_expert_wan(0.8) if request.param == "wan2.2" else random_pipeline_of(request.param)
    return RandomPipeline(copy.deepcopy(shared.pipe), shared.family)


def attention_of(denoiser: Any) -> set[Any]:
    """Of all that have a choice: HunyuanVideo's text refiner has none."""
    processors = [getattr(module, "processor", None) for module in denoiser.modules()]
    return {processor._attention_backend for processor in processors if hasattr(processor, "_attention_backend")}


def vae_of(kind: str) -> Any:
    if kind == "wan":
        return AutoencoderKLWan(base_dim=8, z_dim=4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    return AutoencoderKL(sample_size=64)


@pytest.mark.parametrize("pipeline", [*sorted(FAMILIES.keys() - {"sd3"}), "wan2.2"], indirect=True)  # SD3 has no choice
def test_attention_reaches_every_denoiser_and_nothing_else(config, pipeline):
    before, expected = _AttentionBackendRegistry.get_active_backend(), pipeline.run(num_steps=2)
    prepare(pipeline.pipe, config.model, replace(config.runtime, attention="_native_math"))
    denoisers = [pipeline.pipe.transformer, *filter(None, [getattr(pipeline.pipe, "transformer_2", None)])]
    assert all(attention_of(denoiser) == {"_native_math"} for denoiser in denoisers)
    assert _AttentionBackendRegistry.get_active_backend() == before
    torch.testing.assert_close(pipeline.run(num_steps=2), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pipeline", ["wan2.2"], indirect=True)
def test_blocks_of_every_denoiser_are_compiled(config, pipeline):
    prepare(pipeline.pipe, config.model, replace(config.runtime, compile=True))
    blocks = [*pipeline.pipe.transformer.blocks, *pipeline.pipe.transformer_2.blocks]
    assert all(block._compiled_call_impl is not None for block in blocks)


@pytest.mark.parametrize("pipeline", ["flux"], indirect=True)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("magic", "runtime.attention=magic: `backend='magic'` must be one of"),
        ("flash", "runtime.attention=flash: Flash Attention backend 'flash' is not usable"),
    ],
)
def test_an_attention_that_cannot_be_had_is_one_error(config, pipeline, name, message):
    with pytest.raises(ValueError, match=message):
        prepare(pipeline.pipe, config.model, replace(config.runtime, attention=name))


@pytest.mark.parametrize("pipeline", ["flux"], indirect=True)
def test_attention_without_effect_is_an_error(config, pipeline):
    for module in pipeline.pipe.transformer.modules():
        if hasattr(module, "processor"):
            module.processor = SimpleNamespace()
    with pytest.raises(ValueError, match="has no effect on FluxTransformer2DModel"):
        prepare(pipeline.pipe, config.model, replace(config.runtime, attention="native"))


@pytest.mark.parametrize("pipeline", ["flux"], indirect=True)
@pytest.mark.parametrize(("kind", "size"), [("flux", 128), ("wan", 512)])
def test_tiles_are_set_where_a_picture_has_several(config, pipeline, kind, size):
    pipeline.pipe.register_modules(vae=vae_of(kind))
    small, large = ({"height": side, "width": side} for side in (64, size))
    with pytest.raises(ValueError, match="vae_tiling has no effect: 64x64 fits into one tile"):
        prepare(pipeline.pipe, replace(config.model, vae_tiling=True, call=small), config.runtime)
    prepare(pipeline.pipe, replace(config.model, vae_tiling=True, call=large), config.runtime)
    assert pipeline.pipe.vae.use_tiling


@pytest.mark.parametrize("pipeline", ["flux"], indirect=True)
def test_a_vae_without_tiles_is_an_error(config, pipeline):
    with pytest.raises(ValueError, match="NoneType cannot decode in tiles; set model.vae_tiling=false"):
        prepare(pipeline.pipe, replace(config.model, vae_tiling=True), config.runtime)


@pytest.mark.parametrize("pipeline", ["hunyuan_video"], indirect=True)
def test_the_vae_can_have_a_dtype_of_its_own(config, pipeline):
    model = replace(config.model, vae_dtype="bfloat16")
    loaded = _load(model)
    assert (loaded.vae.dtype, loaded.transformer.dtype) == (torch.bfloat16, torch.float32)
    prepare(pipeline.pipe, model, config.runtime)  # a pipeline that casts its latents


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("bfloat16", "FluxPipeline hands its latents to the VAE as they are; set model.vae_dtype=null"),
        ("int8", "model.vae_dtype must be one of float32, bfloat16, float16, got 'int8'"),
    ],
)
def test_a_vae_dtype_that_cannot_be_is_one_error(config, dtype, message):
    with pytest.raises(ValueError, match=message):
        load_pipeline(replace(config.model, vae_dtype=dtype), config.runtime)


def test_what_changes_the_numbers_changes_the_identity(config):
    identity = Job(config).identity
    for setting in ("runtime.attention=native", "model.vae_dtype=float16", "model.vae_tiling=true"):
        assert Job(compose_config([setting])).identity != identity

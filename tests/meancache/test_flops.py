"""The accountant: what was booked, priced by a call without data, is what torch counts."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.models.attention_dispatch import attention_backend
from torch.utils.flop_counter import FlopCounterMode

from baselines.dicache import DiCache
from baselines.taylorseer import TaylorSeer
from baselines.teacache import TeaCache
from experiments.compose import compose_config
from experiments.full_size import random_weights
from experiments.full_size.no_data import first_calls
from experiments.full_size.paper_models import without_weights
from meancache.flops import (
    CallCosts,
    PipelineCosts,
    branch_costs,
    call_costs,
    count_flops,
    pipeline_constant,
    pipeline_costs,
)
from meancache.flops.call import Arguments, described
from meancache.method import Full
from meancache.models import adapter_for
from meancache.models.adapter import Stack
from meancache.session import Session, attach
from tests.pipelines import FAMILIES, RandomPipeline, attached, random_pipeline_of, two_expert_wan

TINY_FLUX = Path(__file__).parents[2] / "assets/tiny_flux"
STEPS = 6
METHODS = {
    "full": Full(),
    "teacache": TeaCache(0.4, (0, 0, 0, 1, 0)),
    "dicache": DiCache(0.4),
    "dicache-restarts": DiCache(0.4, resumes=False),
    "taylorseer": TaylorSeer(2, warmup=1, order=2),
}
# FLOPs of a call at the paper's settings, by the number of text tokens: specified
FULL_SIZE = {
    "flux": {512: 74_384_653_418_496},
    "qwen_image": {19: 109_244_359_458_816, 6: 108_951_540_400_128},
    "hunyuan_video": {256: 595_428_243_406_848},
}


def costs_of(session: Session, pipeline: RandomPipeline) -> PipelineCosts:
    return pipeline_costs(pipeline.pipe, session.adapter, session.run.ledger.arguments, pipeline.inputs(0))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_what_a_run_booked_is_what_torch_counts(family, method):
    pipeline = random_pipeline_of(family)
    with FlopCounterMode(display=False) as counter:
        _, session = attached(pipeline, METHODS[method], num_steps=STEPS)
    counted = sum(counter.get_flop_counts()[type(pipeline.pipe.transformer).__name__].values())
    prices = PipelineCosts(branch_costs(pipeline.pipe, session.adapter, session.run.ledger.arguments), 0)
    assert prices.run(session.run.ledger.works) == counted > 0


def test_full_run_is_that_of_the_full_method():
    pipeline = random_pipeline_of("qwen_image")
    _, session = attached(pipeline, Full(), num_steps=STEPS)
    prices = costs_of(session, pipeline)
    assert prices.run(session.run.ledger.works) == prices.full_run(STEPS)


@functools.cache
def full_size(name: str) -> tuple[Any, list[Arguments]]:
    """A full-size pipeline without data, and the arguments of a step's denoiser calls."""
    make, embeddings = random_weights.FULL_SIZE[name]
    pipe = without_weights(make)
    pipe.set_progress_bar_config(disable=True)
    inputs = embeddings(pipe.transformer.config, lambda *shape: torch.zeros(1, *shape))
    return pipe, first_calls(pipe, compose_config([f"model={name}"]).model.call | inputs)


@pytest.mark.parametrize("name", FULL_SIZE)
def test_a_full_size_call(name):
    pipe, arguments = full_size(name)
    adapter = adapter_for(pipe)
    for call, (text, expected) in zip(arguments, FULL_SIZE[name].items(), strict=True):
        assert adapter.text_tokens(call) == [text]
        costs = call_costs(pipe.transformer, adapter, call)
        assert costs.price(costs.full_call) == expected
        assert costs.full_call.total() == 1 + len(adapter.blocks(pipe.transformer))


def test_units_of_flux_by_hand():
    pipe, arguments = full_size("flux")
    units = call_costs(pipe.transformer, adapter_for(pipe), arguments[0]).units
    width = 24 * 128
    assert units["modulations:transformer_blocks"] == 2 * units["indicator"] == 2 * 2 * width * 6 * width
    assert units["modulations:single_transformer_blocks"] == 2 * width * 3 * width
    assert units["tokens:transformer_blocks.ff"] == 2 * 2 * width * 4 * width
    assert units["tokens:transformer_blocks.attn.to_v"] == 2 * width * width
    assert units["tokens:single_transformer_blocks.proj_mlp"] == 2 * width * 4 * width
    assert units["tokens:single_transformer_blocks.proj_out"] == 2 * (width + 4 * width) * width
    assert not any(unit.endswith(".attn") for unit in units)  # what a token costs there depends on all others


def test_a_call_is_counted_with_torchs_own_attention(random_flux):
    """Other kernels, set on the live denoiser or for all models, are not counted and cannot run without data."""
    _, session = attached(random_flux, Full(), num_steps=1)
    expected = costs_of(session, random_flux).full_run(1)
    other = random_flux.pipe.transformer.from_config(random_flux.pipe.transformer.config)
    with attention_backend("flex"):
        other.set_attention_backend("flex")
        costs = call_costs(other, session.adapter, session.run.ledger.arguments[0])
    assert costs.price(costs.full_call) == expected


@pytest.mark.parametrize("size", [64, 96])
def test_a_loaded_pipeline_with_encoders_and_vae(size):
    """From pixels to prompts: tiny_flux as torch counts it, on another size too."""
    pipe = DiffusionPipeline.from_pretrained(TINY_FLUX)
    pipe.set_progress_bar_config(disable=True)
    settings, sessions = {"height": size, "width": size, "max_sequence_length": 24}, []

    def call() -> None:
        with attach(pipe, adapter_for(pipe), Full()) as session:
            pipe("a red circle", num_inference_steps=2, **settings)
        sessions.append(session)

    counted = count_flops(call)
    run = sessions[0].run
    costs = pipeline_costs(pipe, sessions[0].adapter, run.ledger.arguments, settings)
    assert costs.run(run.ledger.works) + costs.once == counted
    assert costs.once == pipeline_constant(pipe, text_tokens=(24,), call=settings) > 0


def test_what_has_no_price_is_an_error(random_flux):
    with pytest.raises(ValueError, match=r"without a price: \['tokens:nowhere'\]"):
        CallCosts({"embed_out": 1}, {}).price({"embed_out": 1, "tokens:nowhere": 3})
    with pytest.raises(ValueError, match="work of 2 branches, but prices of 1"):
        PipelineCosts((CallCosts({}, {}),), 0).run([{}, {}])
    with pytest.raises(ValueError, match="FluxTransformer2DModel cannot be made without data"):
        call_costs(random_flux.pipe.transformer, adapter_for(random_flux.pipe), {"hidden_states": None})
    unread = replace(adapter_for(random_flux.pipe), stacks=(Stack("layers"),))
    with pytest.raises(ValueError, match=r"has no blocks \['layers'\]"):
        call_costs(random_flux.pipe.transformer, unread, {})


def test_a_call_is_described_by_the_names_of_the_denoisers_class(random_flux, monkeypatch):
    transformer, text = random_flux.pipe.transformer, torch.zeros(1, 5, 24)
    monkeypatch.setattr(transformer, "forward", lambda *args, **kwargs: None, raising=False)
    for denoiser in (transformer, torch.compile(transformer)):
        arguments = described(denoiser, (torch.zeros(1, 16, 16),), {"encoder_hidden_states": text})
        assert {name: tuple(value.shape) for name, value in arguments.items()} == {
            "hidden_states": (1, 16, 16),
            "encoder_hidden_states": (1, 5, 24),
        }
        assert all(value.is_meta for value in arguments.values())


def test_experts_that_lie_in_different_folders_are_priced(monkeypatch):
    pipe = two_expert_wan(0.8).pipe
    config = dict(pipe.transformer_2.config) | {"_name_or_path": "elsewhere"}
    monkeypatch.setattr(pipe.transformer_2, "_internal_dict", type(pipe.transformer_2.config)(config))
    assert branch_costs(pipe, adapter_for(pipe), []) == ()


def test_experts_that_differ_are_not_priced(random_flux, monkeypatch):
    pipe, other = random_flux.pipe, random_pipeline_of("wan").pipe.transformer
    monkeypatch.setattr(pipe, "transformer_2", other, raising=False)
    with pytest.raises(ValueError, match="the denoisers of FluxPipeline differ"):
        branch_costs(pipe, adapter_for(pipe), [])

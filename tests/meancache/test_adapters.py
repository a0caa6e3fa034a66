"""The contract of each adapter with the pinned diffusers: what it names is there, and is what it says."""

import inspect
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import nn

from meancache.method import Full
from meancache.models import ADAPTERS, adapter_for
from meancache.models.adapter import Argument, Stack, argument
from meancache.protocols import Streams
from tests.pipelines import FAMILIES, RandomPipeline, attached, random_pipeline_of

STACKS = {
    "flux": ["transformer_blocks", "single_transformer_blocks"],
    "flux2": ["transformer_blocks", "single_transformer_blocks"],
    "chroma": ["transformer_blocks", "single_transformer_blocks"],
    "qwen_image": ["transformer_blocks"],
    "sd3": ["transformer_blocks"],
    "ltx": ["transformer_blocks"],
    "hunyuan_video": ["transformer_blocks", "single_transformer_blocks"],
    "hunyuan_video_15": ["transformer_blocks"],
    "z_image": ["layers"],
    "wan": ["blocks"],
}


def blocks_of(pipeline: RandomPipeline) -> list[tuple[Stack, nn.Module]]:
    return adapter_for(pipeline.pipe).blocks(pipeline.pipe.transformer)


def record(pipeline: RandomPipeline, module: nn.Module, num_steps: int = 2) -> list[tuple[tuple, dict, Any]]:
    """Arguments and output of each call of a module in one run."""
    calls: list[tuple[tuple, dict, Any]] = []
    hook = module.register_forward_hook(
        lambda _, args, kwargs, out: calls.append((args, kwargs, out)), with_kwargs=True
    )
    with hook:
        pipeline.run(num_steps=num_steps)
    return calls


def test_every_family_has_a_tiny_pipeline():
    assert {adapter.name for adapter in ADAPTERS.values()} == {
        adapter_for(random_pipeline_of(name).pipe).name for name in FAMILIES
    }


def test_block_lists_are_module_lists_of_the_denoiser(any_pipeline):
    adapter, transformer = adapter_for(any_pipeline.pipe), any_pipeline.pipe.transformer
    assert [stack.name for stack in adapter.stacks] == STACKS[adapter.name]
    assert adapter.denoisers == ("transformer",)
    assert all(isinstance(getattr(transformer, name), nn.ModuleList) for name in STACKS[adapter.name])


def test_blocks_run_once_a_call_in_the_adapters_order(any_pipeline):
    blocks, order = [block for _, block in blocks_of(any_pipeline)], []
    hooks = [
        block.register_forward_hook(lambda *_, position=position: order.append(position))
        for position, block in enumerate(blocks)
    ]
    any_pipeline.run(num_steps=2)
    for hook in hooks:
        hook.remove()
    num_calls = 2 * any_pipeline.family.num_branches
    assert order == list(range(len(blocks))) * num_calls


def test_denoiser_calls_a_step(any_pipeline):
    _, session = attached(any_pipeline, Full(), num_steps=3)
    assert session.run.num_branches == any_pipeline.family.num_branches
    assert session.run.ledger.denoiser_calls == session.run.ledger.full_calls == 3 * session.run.num_branches
    assert session.run.nfe == 3


def test_block_arguments_are_where_the_adapter_says(any_pipeline):
    for position, (stack, block) in enumerate(blocks_of(any_pipeline)):
        parameters = list(inspect.signature(block.forward).parameters)
        time = adapter_for(any_pipeline.pipe).time if position == 0 else None
        wanted: list[Argument | None] = [stack.hidden, stack.encoder, time]
        for which in filter(None, wanted):
            assert parameters[which[1]] == which[0], f"{type(block).__name__}{parameters}"


def test_text_is_where_the_adapter_says(any_pipeline):
    transformer, adapter = any_pipeline.pipe.transformer, adapter_for(any_pipeline.pipe)
    args, kwargs, _ = record(any_pipeline, transformer)[0]
    arguments = inspect.signature(transformer.forward).bind(*args, **kwargs).arguments
    assert [prompt.shape for prompt in arguments[adapter.text]] == [(5, 24)] * any_pipeline.family.num_prompts
    assert adapter.text_tokens(arguments) == [5] * any_pipeline.family.num_prompts


def test_streams_are_read_unpacked_and_packed(any_pipeline):
    """The hidden stream has the image tokens, before a block and after it, and pack undoes unpack."""
    family = any_pipeline.family
    for stack, block in blocks_of(any_pipeline):
        args, kwargs, output = record(any_pipeline, block)[0]
        before, after = stack.read(args, kwargs, family.num_text), stack.unpack(output, family.num_text)
        assert before.hidden.shape == after.hidden.shape == (len(after.hidden), family.tokens, 32)
        if family.num_text:
            assert before.encoder.shape == (len(after.hidden), family.num_text, 32)
            assert after.encoder is None if "ff_context" in stack.lacks else after.encoder.shape == before.encoder.shape
        packed = stack.pack(after)
        assert type(packed) is type(output)
        for ours, theirs in zip(_flat(packed), _flat(output), strict=True):
            assert ours is theirs or torch.equal(ours, theirs)


def test_a_block_that_does_nothing_hands_its_streams_on(any_pipeline):
    num_text = any_pipeline.family.num_text
    for stack, block in blocks_of(any_pipeline):
        args, kwargs, _ = record(any_pipeline, block)[0]
        given, handed = stack.read(args, kwargs, num_text), stack.unpack(stack.hand_on(*args, **kwargs), num_text)
        assert torch.equal(given.hidden, handed.hidden)
        assert (given.encoder is None and handed.encoder is None) or torch.equal(given.encoder, handed.encoder)


def test_streams_connect_the_blocks(any_pipeline):
    """What one block gives is what the next one gets, so a residual may be added anywhere."""
    blocks = blocks_of(any_pipeline)
    recorded = [(stack, *record(any_pipeline, block)[0]) for stack, block in blocks]
    for (stack, _, _, output), (following, args, kwargs, _) in pairwise(recorded):
        num_text = any_pipeline.family.num_text
        given, taken = stack.unpack(output, num_text), following.read(args, kwargs, num_text)
        assert torch.equal(given.hidden, taken.hidden)
        assert given.encoder is None or torch.equal(given.encoder, taken.encoder)


def test_feature_modules_run_once_a_block_call(any_pipeline):
    runs: Counter[str] = Counter()
    hooks, names = [], []
    for position, (stack, block) in enumerate(blocks_of(any_pipeline)):
        for name in stack.features:
            key = f"{stack.name}.{position}.{name}"
            names.append(key)
            count = lambda *_, key=key: runs.update([key])  # noqa: E731
            hooks.append(block.get_submodule(name).register_forward_hook(count))
    any_pipeline.run(num_steps=2)
    for hook in hooks:
        hook.remove()
    calls = 2 * any_pipeline.family.num_branches
    assert names
    assert runs == dict.fromkeys(names, calls)


def test_features_give_tokens_of_the_streams_they_belong_to(any_pipeline):
    """Joint attention gives (image, text); in a fused block all tokens come as one, or HunyuanVideo's in two."""
    tokens, num_text = any_pipeline.family.tokens, any_pipeline.family.num_text
    for stack, block in blocks_of(any_pipeline):
        for name, kind in stack.features.items():
            *_, output = record(any_pipeline, block.get_submodule(name))[0]
            lengths = [part.shape[1] for part in _flat(output)]
            if kind.startswith("context_"):
                assert lengths == [num_text], name
            elif kind.startswith("fused_"):
                assert sum(lengths) == tokens + num_text, name
            elif kind == "attention" and stack.encoder is not None:
                assert lengths == [tokens, num_text], name
            else:
                assert lengths == [tokens], name


def test_a_blocks_query_runs_once_a_call(any_pipeline):
    for stack, block in blocks_of(any_pipeline):
        calls = record(any_pipeline, block.get_submodule(stack.query))
        assert len(calls) == 2 * any_pipeline.family.num_branches


def test_modulated_input_is_what_the_block_feeds_its_attention(any_pipeline):
    adapter = adapter_for(any_pipeline.pipe)
    stack, block = blocks_of(any_pipeline)[0]
    attention = next(name for name, kind in stack.features.items() if kind == "attention")
    fed = record(any_pipeline, block.get_submodule(attention), num_steps=3)
    for (args, kwargs, _), (block_args, block_kwargs, _) in zip(fed, record(any_pipeline, block, 3), strict=True):
        with torch.no_grad():
            modulated = adapter.modulated_input(block, block_args, block_kwargs)
        assert torch.equal(modulated, argument(("hidden_states", 0), args, kwargs))


def test_time_is_common_to_all_samples_and_steps_on(any_pipeline):
    """It is the same for both prompts of guidance, and another at every step."""
    adapter = adapter_for(any_pipeline.pipe)
    calls = record(any_pipeline, blocks_of(any_pipeline)[0][1], num_steps=2)
    first, *_, last = [argument(adapter.time, args, kwargs) for args, kwargs, _ in calls]
    assert all(torch.equal(row, first[0]) for row in first)
    assert not torch.equal(first, last)


def test_a_residual_leaves_streams_it_lacks():
    streams, residual = Streams(torch.ones(1, 2, 3), torch.ones(1, 1, 3)), Streams(torch.ones(1, 2, 3))
    assert streams.plus(residual).encoder is streams.encoder
    assert torch.equal(streams.plus(residual).hidden, 2 * torch.ones(1, 2, 3))
    assert (streams - residual).encoder is None


def test_a_model_without_block_lists_is_an_error(random_flux):
    adapter = adapter_for(random_flux.pipe)
    with pytest.raises(ValueError, match="has no blocks \\['layers'\\]"):
        type(adapter)("x", stacks=(Stack("layers"),)).blocks(random_flux.pipe.transformer)
    with pytest.raises(ValueError, match="velocity level only"):
        type(adapter)("x").blocks(random_flux.pipe.transformer)


class PeftModel(nn.Module):
    """As PEFT's: the denoiser is two wrappers inside."""

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.base_model = type("LoraModel", (BaseTuner,), {})(denoiser)


class BaseTuner(nn.Module):
    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.model = denoiser


def test_blocks_that_differ_are_units_of_their_own():
    """SD3.5: the first block attends twice, the last has no MLP for text."""
    pipe = random_pipeline_of("sd3").pipe
    adapter = adapter_for(pipe)
    name = "transformer_blocks"
    units = [name, f"{name}-attn2", f"{name}-attn2", f"{name}-ff_context-attn2"]
    assert [stack.unit for stack, _ in adapter.blocks(pipe.transformer)] == units
    assert [len(stack.features) for stack, _ in adapter.blocks(pipe.transformer)] == [6, 5, 5, 4]
    (stack,) = adapter.stacks
    with pytest.raises(ValueError, match="JointTransformerBlock has no nothing; check its adapter"):
        replace(stack, features={"nothing": "mlp"}).of(pipe.transformer.transformer_blocks[0])


@pytest.mark.parametrize("wrap", [torch.compile, PeftModel, lambda denoiser: torch.compile(PeftModel(denoiser))])
def test_the_denoiser_is_known_inside_of_wrappers(random_flux, monkeypatch, wrap):
    bare, adapter = random_flux.pipe.transformer, adapter_for(random_flux.pipe)
    monkeypatch.setattr(random_flux.pipe, "transformer", wrap(bare))
    assert adapter_for(random_flux.pipe) == adapter
    assert adapter.blocks(random_flux.pipe.transformer) == adapter.blocks(bare)


def test_a_solver_that_does_not_solve_a_flow_is_an_error(random_flux, monkeypatch):
    monkeypatch.setattr(random_flux.pipe, "scheduler", DDIMScheduler())
    with pytest.raises(ValueError, match="DDIMScheduler, which is not known to solve a flow"):
        adapter_for(random_flux.pipe)


def _flat(output: Any) -> tuple:
    return output if isinstance(output, tuple) else (output,)

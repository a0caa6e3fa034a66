"""The contract of each adapter with the pinned diffusers: what it names is there, and is what it says."""

import inspect
from collections import Counter
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
from tests.pipelines import FAMILIES, NUM_BRANCHES, RandomPipeline, attached

STACKS = {
    "flux": ["transformer_blocks", "single_transformer_blocks"],
    "qwen_image": ["transformer_blocks"],
    "hunyuan_video": ["transformer_blocks", "single_transformer_blocks"],
    "z_image": ["layers"],
    "wan": ["blocks"],
}
MODULATION = {"flux": ("temb", 2), "qwen_image": ("temb", 3), "hunyuan_video": ("temb", 2), "wan": ("temb", 2)}
MODULATION["z_image"] = ("adaln_input", 3)
TOKENS = {"flux": 16, "qwen_image": 16, "hunyuan_video": 32, "z_image": 32 + 32, "wan": 32}  # Z-Image pads to 32s


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
    assert {adapter.name for adapter in ADAPTERS.values()} == set(FAMILIES)


def test_block_lists_are_module_lists_of_the_denoiser(random_pipeline):
    adapter, transformer = adapter_for(random_pipeline.pipe), random_pipeline.pipe.transformer
    assert [stack.name for stack in adapter.stacks] == STACKS[adapter.name]
    assert adapter.denoisers == ("transformer",)
    assert all(isinstance(getattr(transformer, name), nn.ModuleList) for name in STACKS[adapter.name])


def test_blocks_run_once_a_call_in_the_adapters_order(random_pipeline):
    blocks, order = [block for _, block in blocks_of(random_pipeline)], []
    hooks = [
        block.register_forward_hook(lambda *_, position=position: order.append(position))
        for position, block in enumerate(blocks)
    ]
    random_pipeline.run(num_steps=2)
    for hook in hooks:
        hook.remove()
    num_calls = 2 * NUM_BRANCHES[adapter_for(random_pipeline.pipe).name]
    assert order == list(range(len(blocks))) * num_calls


def test_denoiser_calls_a_step(random_pipeline):
    _, session = attached(random_pipeline, Full(), num_steps=3)
    assert session.run.num_branches == NUM_BRANCHES[session.adapter.name]
    assert session.run.ledger.denoiser_calls == session.run.ledger.full_calls == 3 * session.run.num_branches
    assert session.run.nfe == 3


def test_block_arguments_are_where_the_adapter_says(random_pipeline):
    name = adapter_for(random_pipeline.pipe).name
    for stack, block in blocks_of(random_pipeline):
        parameters = list(inspect.signature(block.forward).parameters)
        wanted: list[Argument | None] = [stack.hidden, stack.encoder, MODULATION[name]]
        for which in filter(None, wanted):
            assert parameters[which[1]] == which[0], f"{type(block).__name__}{parameters}"


def test_text_is_where_the_adapter_says(random_pipeline):
    transformer = random_pipeline.pipe.transformer
    name = adapter_for(random_pipeline.pipe).text
    args, kwargs, _ = record(random_pipeline, transformer)[0]
    text = inspect.signature(transformer.forward).bind(*args, **kwargs).arguments[name]
    prompts = 2 if "z_image" in adapter_for(random_pipeline.pipe).name else 1
    assert [prompt.shape for prompt in text] == [(5, 24)] * prompts


def test_streams_are_read_unpacked_and_packed(random_pipeline):
    """The hidden stream has the image tokens, before a block and after it, and pack undoes unpack."""
    tokens = TOKENS[adapter_for(random_pipeline.pipe).name]
    for stack, block in blocks_of(random_pipeline):
        args, kwargs, output = record(random_pipeline, block)[0]
        before, after = stack.read(args, kwargs), stack.unpack(output)
        assert before.hidden.shape == after.hidden.shape == (*after.hidden.shape[:1], tokens, 32)
        if stack.encoder is not None:
            assert before.encoder.shape == after.encoder.shape == (1, 5, 32)
        packed = stack.pack(after)
        assert type(packed) is type(output)
        assert all(ours is theirs for ours, theirs in zip(_flat(packed), _flat(output), strict=True))


def test_streams_connect_the_blocks(random_pipeline):
    """What one block gives is what the next one gets, so a residual may be added anywhere."""
    blocks = blocks_of(random_pipeline)
    recorded = [(stack, *record(random_pipeline, block)[0]) for stack, block in blocks]
    for (stack, _, _, output), (following, args, kwargs, _) in pairwise(recorded):
        given, taken = stack.unpack(output), following.read(args, kwargs)
        assert torch.equal(given.hidden, taken.hidden)
        assert given.encoder is None or torch.equal(given.encoder, taken.encoder)


def test_feature_modules_run_once_a_block_call(random_pipeline):
    runs: Counter[str] = Counter()
    hooks, names = [], []
    for position, (stack, block) in enumerate(blocks_of(random_pipeline)):
        for name in stack.features:
            key = f"{stack.name}.{position}.{name}"
            names.append(key)
            count = lambda *_, key=key: runs.update([key])  # noqa: E731
            hooks.append(block.get_submodule(name).register_forward_hook(count))
    random_pipeline.run(num_steps=2)
    for hook in hooks:
        hook.remove()
    calls = 2 * NUM_BRANCHES[adapter_for(random_pipeline.pipe).name]
    assert names
    assert runs == dict.fromkeys(names, calls)


def test_features_give_tokens_of_the_streams_they_belong_to(random_pipeline):
    """Joint attention gives (image, text); in a fused block all tokens come as one, or HunyuanVideo's in two."""
    tokens = TOKENS[adapter_for(random_pipeline.pipe).name]
    for stack, block in blocks_of(random_pipeline):
        for name, kind in stack.features.items():
            *_, output = record(random_pipeline, block.get_submodule(name))[0]
            lengths = [part.shape[1] for part in _flat(output)]
            if kind.startswith("context_"):
                assert lengths == [5], name
            elif kind.startswith("fused_"):
                assert sum(lengths) == tokens + 5, name
            elif kind == "attention" and stack.encoder is not None:
                assert lengths == [tokens, 5], name
            else:
                assert lengths == [tokens], name


def test_modulated_input_is_what_the_block_feeds_its_attention(random_pipeline):
    adapter = adapter_for(random_pipeline.pipe)
    stack, block = blocks_of(random_pipeline)[0]
    attention = next(name for name, kind in stack.features.items() if kind == "attention")
    fed = record(random_pipeline, block.get_submodule(attention), num_steps=3)
    for (args, kwargs, _), (block_args, block_kwargs, _) in zip(fed, record(random_pipeline, block, 3), strict=True):
        with torch.no_grad():
            modulated = adapter.modulated_input(block, block_args, block_kwargs)
        assert torch.equal(modulated, argument(("hidden_states", 0), args, kwargs))


def test_time_is_common_to_all_samples_and_steps_on(random_pipeline):
    """It is the same for both prompts of guidance, and another at every step."""
    adapter = adapter_for(random_pipeline.pipe)
    assert adapter.time == MODULATION[adapter.name]
    calls = record(random_pipeline, blocks_of(random_pipeline)[0][1], num_steps=2)
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

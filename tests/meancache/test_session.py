"""The seams: what a run with a method does to the pipeline, and what it leaves behind."""

from copy import deepcopy
from typing import Any

import pytest
import torch

from meancache.method import Full, MeanCache
from meancache.models import adapter_for
from meancache.models.adapter import ModelAdapter
from meancache.plan import Plan
from meancache.session import attach
from tests.pipelines import NUM_STEPS, RandomPipeline, attached, interrupted, schedule_of


def method_of(
    pipeline: Any, nodes: tuple[int, ...], orders: tuple[int, ...] | None = None, rule: str = "paper"
) -> MeanCache:
    return MeanCache(Plan("random", schedule_of(pipeline), nodes, orders or (1,) * len(nodes), rule))


def test_full_is_bit_identical_to_the_bare_pipeline_twice(random_pipeline):
    bare = random_pipeline.run()
    with attach(random_pipeline.pipe, adapter_for(random_pipeline.pipe), Full()):
        first, second = random_pipeline.run(), random_pipeline.run()
    assert torch.equal(first, bare)
    assert torch.equal(second, bare)


@pytest.mark.parametrize("rule", ["paper", "release", "hold"])
def test_budget_of_all_steps_is_bit_identical(random_pipeline, rule):
    method = method_of(random_pipeline, tuple(range(NUM_STEPS)), rule=rule)
    assert torch.equal(attached(random_pipeline, method)[0], random_pipeline.run())


@pytest.mark.parametrize("rule", ["paper", "release", "hold"])
def test_runs_repeat_exactly_and_nfe_is_the_budget(random_pipeline, rule):
    method = method_of(random_pipeline, (0, 1, 4, 6, 9), (1, 1, 2, 4, 5), rule=rule)
    first, session = attached(random_pipeline, method)
    assert session.run.nfe == 5
    assert session.run.ledger.denoiser_calls == 5 * random_pipeline.family.num_branches
    with attach(random_pipeline.pipe, adapter_for(random_pipeline.pipe), method) as session:
        random_pipeline.run(7)  # another prompt in between leaves nothing behind
        assert torch.equal(random_pipeline.run(), first)
    assert not torch.equal(first, random_pipeline.run())


def test_qwen_without_guidance_calls_the_denoiser_once_a_step(random_qwen):
    method = method_of(random_qwen, (0, 1, 4, 6, 9), (1, 1, 2, 4, 5), rule="release")
    _, session = attached(random_qwen, method, true_cfg_scale=1.0)
    assert session.run.ledger.denoiser_calls == session.run.nfe == 5


def test_detaching_restores_everything_even_after_an_error(random_pipeline):
    pipe = random_pipeline.pipe
    before = [dict(vars(owner)) for owner in (pipe.scheduler, pipe.transformer)]
    attached(random_pipeline, Full())
    with pytest.raises(KeyboardInterrupt), attach(pipe, adapter_for(pipe), Full()):
        raise KeyboardInterrupt
    for owner, names in zip((pipe.scheduler, pipe.transformer), before):
        assert vars(owner).keys() == names.keys()
        assert not {"step", "set_timesteps", "forward"} & vars(owner).keys()


def test_an_error_in_mid_run_leaves_nothing_behind(random_pipeline):
    bare, method = random_pipeline.run(), method_of(random_pipeline, (0, 2, 9))
    with interrupted(random_pipeline, 3), pytest.raises(KeyboardInterrupt):
        attached(random_pipeline, method)
    assert torch.equal(random_pipeline.run(), bare)
    assert torch.equal(attached(random_pipeline, Full())[0], bare)


def test_an_override_set_by_somebody_else_meanwhile_is_left_alone(random_flux):
    transformer = random_flux.pipe.transformer

    def theirs(*args: Any, **kwargs: Any) -> None: ...

    try:
        with attach(random_flux.pipe, adapter_for(random_flux.pipe), Full()):
            random_flux.run()
            transformer.forward = theirs
        assert transformer.forward is theirs
    finally:
        del transformer.forward


@pytest.mark.parametrize("rule", ["paper", "release", "hold"])
def test_batch_of_four_equals_four_singles(random_pipeline, rule):
    if not random_pipeline.family.batches:
        pytest.skip(f"{type(random_pipeline.pipe).__name__} takes one prompt a call")
    method = method_of(random_pipeline, (0, 1, 4, 6, 9), (1, 1, 2, 4, 5), rule=rule)
    batch, _ = attached(random_pipeline, method, 0, 1, 2, 3)
    singles = torch.cat([attached(random_pipeline, method, seed)[0] for seed in range(4)])
    torch.testing.assert_close(batch, singles, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_bfloat16_stays_near_float32(random_pipeline, device):
    method = method_of(random_pipeline, (0, 1, 4, 6, 9), (1, 1, 2, 4, 5))
    exact, _ = attached(random_pipeline, method)
    pipe = deepcopy(random_pipeline.pipe).to(device, torch.bfloat16)

    def rounded_value(value: Any) -> Any:
        if isinstance(value, list):
            return [rounded_value(item) for item in value]
        if not torch.is_tensor(value):
            return value
        return value.to(device, torch.bfloat16 if value.is_floating_point() else value.dtype)

    def inputs(seed: int) -> dict[str, Any]:
        return {key: rounded_value(value) for key, value in random_pipeline.inputs(seed).items()}

    rounded, session = attached(RandomPipeline(pipe, random_pipeline.family._replace(inputs=inputs)), method)
    assert next(pipe.transformer.parameters()).dtype == torch.bfloat16
    assert session.run.nfe == 5
    assert (rounded.cpu().float() - exact).norm() < random_pipeline.family.rounding * exact.norm()


def test_history_is_bounded_by_the_longest_span(random_flux):
    method = method_of(random_flux, (0, 1, 4, 6, 9), (1, 1, 2, 4, 3))
    _, session = attached(random_flux, method)
    assert len(session.run.trajectory._entries) == method.history == 4


def test_a_plan_for_another_grid_is_refused(random_flux):
    method = MeanCache(Plan("random", schedule_of(random_flux, 20), (0, 3), (1, 1)))
    with pytest.raises(ValueError, match="made for 20 steps .* plan again"):
        attached(random_flux, method, num_steps=12)


def test_nothing_to_attach_to_is_an_error(random_flux):
    with (
        pytest.raises(ValueError, match="no denoiser 'unet'"),
        attach(random_flux.pipe, ModelAdapter("x", ("unet",)), Full()),
    ):
        pass
    with (
        pytest.raises(RuntimeError, match="no denoising step"),
        attach(random_flux.pipe, adapter_for(random_flux.pipe), Full()),
    ):
        pass

"""Which schedulers solve a flow; the others are refused with the true reason before the denoiser is called."""

from typing import Any

import diffusers
import pytest
import torch

from meancache.method import Full
from meancache.session import attach
from meancache.solver import first_index, moves_as_euler
from tests.meancache.test_runs import ADAPTER, STEPS
from tests.toy import Toy

FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
SOLVES = [
    ("FlowMatchEulerDiscreteScheduler", {}),
    ("UniPCMultistepScheduler", FLOW),
    ("DPMSolverMultistepScheduler", FLOW),
]
REFUSED = [
    ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, r"adds fresh noise .*stochastic_sampling=True"),
    ("FlowMatchLCMScheduler", {}, "adds fresh noise at every step"),
    ("DPMSolverMultistepScheduler", FLOW | {"algorithm_type": "sde-dpmsolver++"}, "noise .*'sde-dpmsolver\\+\\+'"),
    ("UniPCMultistepScheduler", {"prediction_type": "epsilon", "use_flow_sigmas": True}, "prediction_type='epsilon'"),
    ("UniPCMultistepScheduler", {"prediction_type": "flow_prediction"}, "use_flow_sigmas=False"),
    ("SASolverScheduler", FLOW, "adds fresh noise at every step"),
    ("FlowMatchHeunDiscreteScheduler", {}, "calls the denoiser twice a step"),
    ("DEISMultistepScheduler", FLOW, "last two noise levels are equal"),
    ("DDIMScheduler", {}, "not known to solve a flow"),
]


def scheduler_of(name: str, settings: dict[str, Any]) -> Any:
    return getattr(diffusers, name)(**settings)


@pytest.mark.parametrize(("name", "settings"), SOLVES, ids=[name for name, _ in SOLVES])
def test_solvers_of_a_flow_run(name, settings):
    pipe = Toy(scheduler=scheduler_of(name, settings))
    bare = pipe(STEPS)
    with attach(pipe, ADAPTER, Full()) as session:
        assert torch.equal(pipe(STEPS), bare)
    assert session.run.nfe == STEPS


@pytest.mark.parametrize(("name", "settings", "reason"), REFUSED, ids=[f"{n}-{len(s)}" for n, s, _ in REFUSED])
def test_others_are_refused_before_the_denoiser_runs(name, settings, reason):
    pipe = Toy(scheduler=scheduler_of(name, settings))
    with pytest.raises(ValueError, match=f"Toy runs {name}, which .*{reason}"), attach(pipe, ADAPTER, Full()):
        pipe(STEPS)
    assert pipe.transformer.calls == 0


def test_a_class_of_the_users_own_counts_as_its_base():
    class Own(diffusers.FlowMatchLCMScheduler):
        pass

    with pytest.raises(ValueError, match="Own, which adds fresh noise"), attach(Toy(scheduler=Own()), ADAPTER, Full()):
        pass


def test_a_pipeline_without_a_scheduler_is_refused():
    pipe = Toy()
    del pipe.scheduler
    with pytest.raises(ValueError, match="Toy has no scheduler"), attach(pipe, ADAPTER, Full()):
        pass


def test_where_a_run_begins():
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(6)
    assert first_index(scheduler) == 0
    assert first_index(scheduler, scheduler.timesteps[4]) == 4
    scheduler.set_begin_index(2)
    assert first_index(scheduler, scheduler.timesteps[2]) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_move_is_told_from_one_of_the_other_sign(dtype):
    """In bfloat16 the rounding of a single latent is larger than its move."""
    generator = torch.Generator().manual_seed(0)
    before, velocity = (torch.randn(1, 4096, generator=generator).to(dtype) for _ in range(2))
    scheduler, dsigma = diffusers.FlowMatchEulerDiscreteScheduler(), -0.007
    after = (before.float() + dsigma * velocity.float()).to(dtype)
    assert moves_as_euler(scheduler, before, after, velocity, dsigma)
    assert not moves_as_euler(scheduler, before, after, -velocity, dsigma)
    assert not moves_as_euler(scheduler, before, before, velocity, dsigma)

"""The contract of methods: what is missing is an error, and what may be left out has a default."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from baselines.taylorseer import TaylorSeer
from meancache.protocols import Method, ResidualMethod, VelocityMethod
from meancache.schedule import Step
from meancache.session import attach
from meancache.trajectory import Trajectory
from tests.meancache.test_runs import ADAPTER, STEPS
from tests.pipelines import attached
from tests.toy import Toy


class EveryOther(VelocityMethod):
    """The README's example, without what has a default."""

    def computes(self, step: Step) -> bool:
        return step.index % 2 == 0

    def velocity(self, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
        return trajectory[-1].velocity if computed is None else computed


def test_a_method_needs_no_more_than_it_changes():
    pipe = Toy()
    with attach(pipe, ADAPTER, EveryOther()) as session:
        pipe(STEPS)
    assert session.run.nfe == pipe.transformer.calls == STEPS / 2


def test_a_forgotten_member_is_an_error_when_the_method_is_made():
    class Forgets(VelocityMethod):
        def velocity(self, *args: Any) -> Any: ...

    class Misspells(ResidualMethod):
        def new_state(self) -> Any: ...
        def compute(self, *args: Any) -> bool: ...
        def observe(self, *args: Any) -> None: ...
        def predict(self, *args: Any) -> Any: ...

    for kind in (Forgets, Misspells):
        with pytest.raises(TypeError, match="computes"):
            kind()  # type: ignore[abstract]


class Lookalike:
    """All members and no base class."""

    def computes(self, step: Step) -> bool: ...
    def velocity(self, *args: Any) -> Any: ...


class Misspelt:
    def compute(self, step: Step) -> bool: ...
    def velocity(self, *args: Any) -> Any: ...


class OfNoKind(Method):
    pass


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Lookalike(), r"Lookalike is no method: let it inherit from VelocityMethod \(meancache.protocols\)$"),
        (Misspelt(), r"inherit from VelocityMethod .* and define 'computes' \(it has 'compute'\)"),
        (OfNoKind(), "OfNoKind is no method"),
        (EveryOther, "no method"),
        (None, "NoneType is no method"),
    ],
)
def test_what_is_no_method_is_refused_by_name(method, message):
    pipe = Toy()
    with pytest.raises(ValueError, match=message), attach(pipe, ADAPTER, method):
        pipe(STEPS)
    assert pipe.transformer.calls == 0


@dataclass
class _Seen:
    change: float = 0.0
    rate: float | None = None
    before: Tensor | None = None
    computed_at: Tensor | None = None


class DecidesByWhatItSaw(VelocityMethod):
    """EasyCache's rule (arXiv 2507.02860), the example of a velocity method that decides by latents and velocities."""

    warmup, threshold = 3, 0.15

    def new_run(self) -> _Seen:
        return _Seen()

    def computes(self, step: Step) -> bool:
        return step.index < self.warmup or step.index == step.num_steps - 1

    def decides(self, step: Step, latents: Tensor, trajectory: Trajectory, state: _Seen) -> bool:
        node = next(trajectory[k] for k in range(step.index - 1, -1, -1) if trajectory[k].computed)
        known = [trajectory[k] for k in range(step.index) if trajectory[k].computed]
        if len(known) > 1:
            a, b = known[-2:]
            state.rate = ((b.velocity - a.velocity).abs().mean() / (b.latents - a.latents).abs().mean()).item()
        moved = (latents - trajectory[-1].latents).abs().mean()
        if self.computes(step) or state.rate is None:
            state.change = 0.0
            return True
        state.change += (state.rate * moved / node.velocity.abs().mean()).item()
        if state.change < self.threshold:
            return False
        state.change = 0.0
        return True

    @property
    def history(self) -> int:
        return 50

    def velocity(self, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
        if computed is not None:
            return computed
        node = next(trajectory[k] for k in range(step.index - 1, -1, -1) if trajectory[k].computed)
        return latents + node.velocity - node.latents


def test_a_method_may_decide_by_latents_and_past_velocities():
    """Ten equal steps of v(z) = -1 - z/4 from z = 0: by hand, steps 0, 1, 2 and 9 are computed."""
    expected = [-1, -1.025, -1.050625, -0.945562, -0.851006, -0.765906, -0.689315, -0.620384, -0.558345, -1.187654]
    pipe = Toy(scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0), field=lambda z, sigma: -1 - z / 4)
    with attach(pipe, ADAPTER, DecidesByWhatItSaw(), keep=True) as session:
        pipe.scheduler.set_timesteps(sigmas=[1 - k / 10 for k in range(10)])
        z = torch.zeros(1, 1)
        for timestep in pipe.scheduler.timesteps:
            z = pipe.loop(pipe, timestep, z)
    entries = [session.run.trajectory[k] for k in range(10)]
    assert [entry.index for entry in entries if entry.computed] == [0, 1, 2, 9]
    # upstream's velocities are dz per step of -0.1 in the opposite sense of time: the rule reads z as it falls
    torch.testing.assert_close(
        torch.tensor([entry.applied.item() for entry in entries]), torch.tensor(expected), rtol=1e-4, atol=1e-4
    )


class FullByCount(TaylorSeer):
    """A feature method whose full steps depend on the run: as SpeCa's, decided once a call and branch."""

    def new_branch(self) -> list[int]:
        return []

    def new_features(self, seed: int, branch: Any) -> Any:
        assert isinstance(branch, list)
        return super().new_features(seed, branch)

    def full(self, step: Step, branch: list[int]) -> bool:
        branch.append(step.index)
        return len(branch) % 3 == 0

    @property
    def kinds(self) -> Collection[str]:
        return super().kinds

    def since_full(self, index: int) -> int:
        return index % 3

    def is_read(self, step: Step) -> bool:
        return True


def test_full_calls_may_depend_on_what_a_branch_has_seen(random_qwen):
    latents, session = attached(random_qwen, FullByCount(3), num_steps=10)
    assert session.run.nfe == 4  # the first call, which is not asked, and every third that is
    assert latents.isfinite().all()

"""Attach a method to a diffusers pipeline: three instance overrides, put on for a call and taken off after it.

The pipeline's ``__call__``, its classes and its weights are untouched. The session knows the time:

* ``scheduler.set_timesteps`` begins a run: the method checks the grid, all state is made anew;
* the denoiser's ``forward`` is gated: at a skipped step it hands back the branch's last output, a placeholder that
  keeps the pipeline's guidance arithmetic finite and is thrown away (zeros would be 0/0 in a norm rescale);
* ``scheduler.step`` is the one place where the guided velocity exists in every pipeline: there the method's
  velocity is put in place.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from meancache.adapters import ModelAdapter
from meancache.protocols import VelocityMethod
from meancache.schedule import Schedule, Step
from meancache.timing import now
from meancache.trajectory import Entry, FullTrajectory, Trajectory


@dataclass
class Counters:
    """What one run did.

    Attributes:
        nfe: computed solver steps.
        denoiser_calls: calls that ran, all guidance branches.
        began: clock at ``set_timesteps``, seconds.
        ended: clock after the last ``step``, seconds.
    """

    nfe: int = 0
    denoiser_calls: int = 0
    began: float = 0.0
    ended: float = 0.0


class Session:
    """The state of the run in progress; made by :func:`attach`."""

    def __init__(self, method: VelocityMethod, device: torch.device, full_history: bool = False) -> None:
        self.method = method
        self.device = device
        self.full_history = full_history
        self.schedule: Schedule | None = None
        self.counters = Counters()
        self.trajectory = Trajectory()

    def begin(self, schedule: Schedule) -> None:
        """Start a run on this grid with fresh state."""
        self.method.check(schedule)
        self.schedule = schedule
        self.index = 0
        self.trajectory = Trajectory(None if self.full_history else self.method.history)
        self.counters = Counters(began=now(self.device))
        self.calls = 0  # denoiser calls of this step so far: the branch number
        self.branches: list[Any] = []  # last output of each branch
        self.num_branches = 0  # learned in step 0, asserted afterwards
        self.computing = True

    def full_trajectory(self) -> FullTrajectory:
        """The finished run as calibration reads it; the session was attached with ``full_history``."""
        assert self.schedule is not None and self.full_history and self.index == self.schedule.num_steps
        entries = [self.trajectory[index] for index in range(self.index)]
        latents = torch.stack([*(entry.latents for entry in entries), self.final_latents])
        return FullTrajectory(self.schedule, latents, torch.stack([entry.velocity for entry in entries]))

    @property
    def step(self) -> Step:
        if self.schedule is None:
            raise RuntimeError("the denoiser or scheduler ran before scheduler.set_timesteps: attach before the call")
        return self.schedule.step(self.index)

    def set_timesteps(self, original: Callable[..., Any], scheduler: Any) -> Callable[..., Any]:
        @wraps(original)  # pipelines inspect its signature
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            self.begin(Schedule(scheduler.sigmas.tolist()))
            return result

        return wrapper

    def forward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self.calls == 0:
                self.computing = self.method.computes(self.step)
                assert self.computing or self.index > 0, "step 0 is always computed"
            branch, self.calls = self.calls, self.calls + 1
            if not self.computing and branch < self.num_branches:
                return self.branches[branch]
            output = original(*args, **kwargs)
            self.counters.denoiser_calls += 1
            self.branches[branch : branch + 1] = [output]
            return output

        return wrapper

    def solver_step(self, original: Callable[..., Any], scheduler: Any) -> Callable[..., Any]:
        @wraps(original)
        def wrapper(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
            step = self._check_step(scheduler)
            applied = self.method.velocity(step, sample, model_output if self.computing else None, self.trajectory)
            velocity = model_output if self.computing else applied
            self.trajectory.append(Entry(step.index, step.sigma, sample, velocity, applied, self.computing))
            result = original(applied, timestep, sample, *args, **kwargs)
            self.counters.nfe += self.computing
            self.index, self.calls = self.index + 1, 0
            if self.index == step.num_steps:
                self.counters.ended = now(self.device)
                self.final_latents = result[0]
            return result

        return wrapper

    def _check_step(self, scheduler: Any) -> Step:
        step = self.step
        if step.index == 0:
            self.num_branches = self.calls
        if self.calls != self.num_branches or self.calls == 0:
            raise RuntimeError(
                f"{self.calls} denoiser calls in step {step.index}, but {self.num_branches} in the steps before; "
                "the adapter names the wrong denoisers, or guidance is switched on or off in mid-run"
            )
        solver_index = getattr(scheduler, "step_index", None)
        if solver_index not in (None, step.index):
            raise RuntimeError(
                f"the solver is at step {solver_index}, the session at step {step.index}: partial runs "
                "(img2img strength < 1, custom timesteps) are not supported"
            )
        return step


@contextmanager
def _override(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Set an instance attribute; on exit put back what was there, if it is still ours."""
    before = vars(owner).get(name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if vars(owner).get(name) is replacement:
            delattr(owner, name)
            if before is not None:
                setattr(owner, name, before)


@contextmanager
def attach(
    pipe: Any, adapter: ModelAdapter, method: VelocityMethod, *, full_history: bool = False
) -> Iterator[Session]:
    """Run the pipeline calls of this block with ``method``.

    Args:
        pipe: a diffusers flow-matching pipeline.
        adapter: names its denoisers; see :func:`meancache.adapters.adapter_for`.
        method: what to do at each step.
        full_history: keep every step in ``session.trajectory`` (calibration).

    Yields:
        The session: trajectory and counters of the latest call.

    Raises:
        ValueError: the adapter does not fit the pipeline, or the method does not fit the sigma grid.
        RuntimeError: the block ended without one denoising step: nothing was accelerated.
    """
    for name in adapter.denoisers:
        if not isinstance(getattr(pipe, name, None), torch.nn.Module):
            raise ValueError(f"{type(pipe).__name__} has no denoiser {name!r}; check the adapter {adapter.name!r}")
    scheduler = pipe.scheduler
    session = Session(method, torch.device(getattr(pipe, "_execution_device", pipe.device)), full_history)
    with ExitStack() as overrides:
        for owner, name, replacement in [
            (scheduler, "set_timesteps", session.set_timesteps(scheduler.set_timesteps, scheduler)),
            (scheduler, "step", session.solver_step(scheduler.step, scheduler)),
            *((d, "forward", session.forward(d.forward)) for d in (getattr(pipe, n) for n in adapter.denoisers)),
        ]:
            overrides.enter_context(_override(owner, name, replacement))
        yield session
    if session.counters.nfe == 0:
        raise RuntimeError(f"no denoising step of {type(pipe).__name__} was seen; call the pipeline inside the block")

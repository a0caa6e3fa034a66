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
from dataclasses import dataclass, field
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


@dataclass
class Run:
    """All state of one run. Made at ``set_timesteps``, so there is nothing to reset."""

    schedule: Schedule
    trajectory: Trajectory
    counters: Counters
    index: int = 0  # solver step
    calls: int = 0  # denoiser calls of this step so far: the branch number
    computing: bool = True
    num_branches: int = 0  # learned in step 0, asserted afterwards
    outputs: list[Any] = field(default_factory=list)  # last output of each branch
    final_latents: Tensor | None = None

    @property
    def step(self) -> Step:
        return self.schedule.step(self.index)

    def full_trajectory(self) -> FullTrajectory:
        """The finished run as calibration reads it; it was attached with ``full_history``."""
        assert self.final_latents is not None
        entries = [self.trajectory[index] for index in range(self.index)]
        latents = torch.stack([*(entry.latents for entry in entries), self.final_latents])
        return FullTrajectory(self.schedule, latents, torch.stack([entry.velocity for entry in entries]))


class Session:
    """The overrides of one :func:`attach`, and the latest run under them."""

    def __init__(self, method: VelocityMethod, device: torch.device, full_history: bool = False) -> None:
        self.method = method
        self.device = device
        self.full_history = full_history
        self._run: Run | None = None

    @property
    def run(self) -> Run:
        """The run in progress or the latest one.

        Raises:
            RuntimeError: none has begun.
        """
        if self._run is None:
            raise RuntimeError("no denoising step was seen; call the pipeline inside the block of attach")
        return self._run

    def wrap_set_timesteps(self, original: Callable[..., Any], scheduler: Any) -> Callable[..., Any]:
        @wraps(original)  # pipelines inspect its signature
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            schedule = Schedule(scheduler.sigmas.tolist())
            self.method.check(schedule)
            trajectory = Trajectory(None if self.full_history else self.method.history)
            self._run = Run(schedule, trajectory, Counters(began=now(self.device)))
            return result

        return wrapper

    def wrap_forward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            run = self.run
            if run.calls == 0:
                run.computing = self.method.computes(run.step)
                assert run.computing or run.index > 0, "step 0 is always computed"
            branch, run.calls = run.calls, run.calls + 1
            if not run.computing and branch < run.num_branches:
                return run.outputs[branch]
            output = original(*args, **kwargs)
            run.counters.denoiser_calls += 1
            run.outputs[branch : branch + 1] = [output]
            return output

        return wrapper

    def wrap_step(self, original: Callable[..., Any], scheduler: Any) -> Callable[..., Any]:
        @wraps(original)
        def wrapper(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
            run = self.run
            step = _checked_step(run, scheduler)
            computed = model_output if run.computing else None
            applied = self.method.velocity(step, sample, computed, run.trajectory)
            velocity = applied if computed is None else computed
            run.trajectory.append(Entry(step.index, step.sigma, sample, velocity, applied, run.computing))
            result = original(applied, timestep, sample, *args, **kwargs)
            run.counters.nfe += run.computing
            run.index, run.calls = run.index + 1, 0
            if run.index == step.num_steps:
                run.counters.ended = now(self.device)
                run.final_latents = result[0]
            return result

        return wrapper


def _checked_step(run: Run, scheduler: Any) -> Step:
    """The step the solver is about to take, if the session has seen what it should."""
    step = run.step
    if step.index == 0:
        run.num_branches = run.calls
    if run.calls != run.num_branches or run.calls == 0:
        raise RuntimeError(
            f"{run.calls} denoiser calls in step {step.index}, but {run.num_branches} in the steps before; "
            "the adapter names the wrong denoisers, guidance is switched on or off in mid-run, or CPU offload put its "
            "own hooks back after a call: then attach anew for each call"
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
    """Run the pipeline calls of this block with ``method``; with CPU offload, one call a block.

    Args:
        pipe: a diffusers flow-matching pipeline.
        adapter: names its denoisers; see :func:`meancache.adapters.adapter_for`.
        method: what to do at each step.
        full_history: keep every step in ``session.run.trajectory`` (calibration).

    Yields:
        The session; ``session.run`` has trajectory and counters of the latest call.

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
            (scheduler, "set_timesteps", session.wrap_set_timesteps(scheduler.set_timesteps, scheduler)),
            (scheduler, "step", session.wrap_step(scheduler.step, scheduler)),
            *((d, "forward", session.wrap_forward(d.forward)) for d in (getattr(pipe, n) for n in adapter.denoisers)),
        ]:
            overrides.enter_context(_override(owner, name, replacement))
        yield session
    if session.run.counters.nfe == 0:
        raise RuntimeError(f"{type(pipe).__name__} set its timesteps but took no step that the session saw")

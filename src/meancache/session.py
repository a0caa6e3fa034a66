"""Attach a method to a diffusers pipeline: instance overrides, put on for a call and taken off after it.

The pipeline's ``__call__``, its classes and its weights are untouched. The session knows the time:

* ``scheduler.set_timesteps`` begins a run: the method checks the grid, all state is made anew;
* the denoiser's ``forward`` is gated: at a step that a velocity method skips it hands back the branch's last output, a
  placeholder that keeps the pipeline's guidance arithmetic finite and is thrown away (zeros would be 0/0 in a norm
  rescale);
* ``scheduler.step`` is the one place where the guided velocity exists in every pipeline: there the method's
  velocity is put in place.

Methods that reach into the denoiser do so through `meancache.seams`.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from meancache.flops.call import Arguments, described
from meancache.method import Full
from meancache.models.adapter import ModelAdapter, Stack
from meancache.protocols import ExternalMethod, FeatureMethod, Method, ResidualMethod, SelectiveMethod, VelocityMethod
from meancache.schedule import Schedule, Step
from meancache.seams.features import FeatureSeam
from meancache.seams.overrides import Override, override
from meancache.seams.residual import ResidualSeam
from meancache.seams.watch import Watch
from meancache.timing import now
from meancache.trajectory import TENSORS, Entry, FullTrajectory, Trajectory


@dataclass
class Counters:
    """What one run did.

    Attributes:
        full_calls: denoiser calls of which all blocks ran, all guidance branches.
        denoiser_calls: calls that reached the denoiser, all guidance branches.
        began: clock at ``set_timesteps``, seconds.
        ended: clock after the last ``step``, seconds.
    """

    full_calls: float = 0
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
    states: dict[Hashable, Any] = field(default_factory=dict)  # of methods that reach into the denoiser
    arguments: list[Arguments] = field(default_factory=list)  # of the first denoiser call of each branch, without data
    called: set[Hashable] = field(default_factory=set)  # denoisers and branches that have run
    is_first: bool = True  # the call in progress is the first of its denoiser and branch
    works: list[Counter[str]] = field(default_factory=list)  # what each branch cost, see meancache.flops
    final_latents: Tensor | None = None

    @property
    def step(self) -> Step:
        return self.schedule.step(self.index)

    @property
    def branch(self) -> int:
        """Number of the denoiser call in progress within its step."""
        return self.calls - 1

    @property
    def work(self) -> Counter[str]:
        """What the branch in progress has cost so far."""
        return self.works[self.branch]

    @property
    def nfe(self) -> float:
        """Computed steps; a step of which only some branches were computed counts by their share."""
        return self.counters.full_calls / max(self.num_branches, 1)

    def state(self, key: Hashable, new: Callable[[], Any]) -> Any:
        """The state kept under ``key``, made by ``new`` where there is none yet."""
        if key not in self.states:
            self.states[key] = new()
        return self.states[key]

    def full_trajectory(self) -> FullTrajectory:
        """The finished run as calibration reads it; it was attached with ``keep``."""
        assert self.final_latents is not None
        entries = [self.trajectory[index] for index in range(self.index)]
        latents = torch.stack([*(entry.latents for entry in entries), self.final_latents])
        return FullTrajectory(self.schedule, latents, torch.stack([entry.velocity for entry in entries]))


class Session:
    """The overrides of one :func:`attach`, and the latest run under them."""

    def __init__(self, method: Method, adapter: ModelAdapter, device: torch.device, keep: bool = False) -> None:
        self.method = method
        self.velocity_method: VelocityMethod = method if isinstance(method, VelocityMethod) else Full()
        self.selective_method = method if isinstance(method, SelectiveMethod) and not keep else None
        self.feature_method = method if isinstance(method, FeatureMethod) else None
        self.is_watched = isinstance(method, ExternalMethod) and not isinstance(method, VelocityMethod)
        self.blocks_are_booked = isinstance(method, ResidualMethod) or self.is_watched  # one by one, by a seam
        self.adapter = adapter
        self.device = device
        self.keep = keep
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
            trajectory = Trajectory(None if self.keep else self.velocity_method.history)
            self._run = Run(schedule, trajectory, Counters(began=now(self.device)))
            return result

        return wrapper

    def wrap_forward(self, original: Callable[..., Any], denoiser: torch.nn.Module) -> Callable[..., Any]:
        @wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            run = self.run
            if run.calls == 0:
                run.computing = self.velocity_method.computes(run.step)
                assert run.computing or run.index > 0, "step 0 is always computed"
            branch, run.calls = run.calls, run.calls + 1
            if not run.computing and branch < run.num_branches:
                return run.outputs[branch]
            if branch == len(run.works):
                run.works.append(Counter())
                run.arguments.append(described(original, args, kwargs))
            run.is_first = (denoiser, branch) not in run.called
            run.called.add((denoiser, branch))
            output = original(*args, **kwargs)
            self._count(denoiser)
            if self.velocity_method.history:
                run.outputs[branch : branch + 1] = [output]
            return output

        return wrapper

    def runs_whole_blocks(self) -> bool:
        """Whether a block that runs in this call runs with all its modules.

        So does all of a denoiser that takes over in mid-run (Wan 2.2): it has no features yet.
        """
        return self.feature_method is None or self.run.is_first or self.feature_method.full(self.run.step)

    def _count(self, denoiser: torch.nn.Module) -> None:
        """Book what a denoiser call cost, but for blocks that a seam books one by one."""
        run = self.run
        run.counters.denoiser_calls += 1
        run.work["embed_out"] += 1
        if self.blocks_are_booked:
            return
        for stack, _ in self.adapter.blocks(denoiser) if self.adapter.stacks else ():
            self.book_blocks(stack)
        run.counters.full_calls += self.runs_whole_blocks()

    def book_blocks(self, stack: Stack) -> None:
        """Book a block that ran in this call."""
        unit = "blocks" if self.runs_whole_blocks() else "modulations"
        self.run.work[f"{unit}:{stack.unit}"] += 1

    def wrap_step(self, original: Callable[..., Any], scheduler: Any) -> Callable[..., Any]:
        @wraps(original)
        def wrapper(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
            run = self.run
            step = _checked_step(run, scheduler)
            computed = model_output if run.computing else None
            applied = self.velocity_method.velocity(step, sample, computed, run.trajectory)
            velocity = applied if computed is None else computed
            entry = Entry(step.index, step.sigma, sample, velocity, applied, run.computing)
            read = TENSORS if self.selective_method is None else self.selective_method.reads(step)
            run.trajectory.append(entry.only(read))
            result = original(applied, timestep, sample, *args, **kwargs)
            run.index, run.calls = run.index + 1, 0
            if run.index == step.num_steps:
                run.counters.ended = now(self.device)
                run.final_latents = result[0]
                if not self.keep:  # the VAE will want the memory
                    run.states.clear()
                    run.outputs.clear()
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
def attach(pipe: Any, adapter: ModelAdapter, method: Method, *, keep: bool = False) -> Iterator[Session]:
    """Run the pipeline calls of this block with ``method``; with CPU offload, one call a block.

    Args:
        pipe: a diffusers flow-matching pipeline.
        adapter: names its denoisers; see :func:`meancache.models.adapter_for`.
        method: what to do at each step.
        keep: keep every step in ``session.run.trajectory``, and the method's states after the run (calibration).

    Yields:
        The session; ``session.run`` has trajectory and counters of the latest call.

    Raises:
        ValueError: the adapter does not fit the pipeline, or the method does not fit the sigma grid.
        RuntimeError: the block ended without one denoising step: nothing was accelerated.
    """
    for name in adapter.denoisers:
        if not isinstance(getattr(pipe, name, None), torch.nn.Module):
            raise ValueError(f"{type(pipe).__name__} has no denoiser {name!r}; check the adapter {adapter.name!r}")
    device = torch.device(getattr(pipe, "_execution_device", pipe.device))
    session = Session(method, adapter, device, keep)
    with ExitStack() as exits:
        if isinstance(method, ExternalMethod):
            exits.enter_context(method.enabled(pipe))
        for owner, name, replacement in list(_overrides(pipe, adapter, session)):
            exits.enter_context(override(owner, name, replacement))
        yield session
    if session.run.counters.denoiser_calls == 0 or session.run.index == 0:
        raise RuntimeError(f"{type(pipe).__name__} set its timesteps but took no step that the session saw")


def _overrides(pipe: Any, adapter: ModelAdapter, session: Session) -> Iterator[Override]:
    """All that the session and the method's seams put on the pipeline."""
    scheduler, method = pipe.scheduler, session.method
    yield Override(scheduler, "set_timesteps", session.wrap_set_timesteps(scheduler.set_timesteps, scheduler))
    yield Override(scheduler, "step", session.wrap_step(scheduler.step, scheduler))
    for name in adapter.denoisers:
        denoiser = getattr(pipe, name)
        yield Override(denoiser, "forward", session.wrap_forward(denoiser.forward, denoiser))
        if isinstance(method, FeatureMethod):
            yield from FeatureSeam(session, method, name, adapter.blocks(denoiser)).overrides()
        if isinstance(method, ResidualMethod):
            for blocks in adapter.block_lists(denoiser, fused=method.fused):
                share = len(blocks) / len(adapter.blocks(denoiser))
                yield from ResidualSeam(session, method, name, blocks, share).overrides()
        if session.is_watched:
            yield from Watch(session, adapter.blocks(denoiser)).overrides()

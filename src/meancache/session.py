"""Attach a method to a diffusers pipeline: instance overrides, put on for a call and taken off after it.

The pipeline's ``__call__``, its classes and its weights are untouched. The session knows the time:

* ``scheduler.set_timesteps`` announces a run: the method checks the grid;
* the denoiser's ``forward`` is gated: the first call begins the run, with all state made anew. At a step that a
  velocity method skips it hands back an earlier output for inputs of the same shapes, a placeholder that keeps the
  pipeline's guidance arithmetic finite and is thrown away (zeros would be 0/0 in a norm rescale);
* ``scheduler.step`` is the one place where the guided velocity exists in every pipeline: there the method's
  velocity is put in place.

Methods that reach into the denoiser do so through `meancache.seams`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from meancache.flops.call import described
from meancache.intruders import check_is_free
from meancache.method import Full
from meancache.models.adapter import ModelAdapter
from meancache.protocols import (
    ExternalMethod,
    FeatureMethod,
    Method,
    ResidualMethod,
    VelocityMethod,
    check_method,
)
from meancache.run import Lane, Run, Signature
from meancache.schedule import Schedule
from meancache.seams.block_counter import BlockCounter
from meancache.seams.features import FeatureSeam
from meancache.seams.overrides import Around, Override, entry_of, override
from meancache.seams.residual import ResidualSeam
from meancache.solver import check_solver, first_index, moves_as_euler, schedule_of
from meancache.timing import now
from meancache.trajectory import TENSORS, Entry, Trajectory


class _Announced(NamedTuple):
    """A run whose timesteps are set and that no denoiser call has begun yet."""

    scheduler: Any
    schedule: Schedule
    at: float


class Session:
    """The overrides of one :func:`attach`, and the runs under them.

    Attributes:
        runs: one for each time that the pipeline set its timesteps and went on to call its denoiser.
    """

    def __init__(
        self, scheduler: Any, method: Method, adapter: ModelAdapter, device: torch.device, keep: bool = False
    ) -> None:
        self.scheduler, self.method, self.adapter, self.device, self.keep = scheduler, method, adapter, device, keep
        self.velocity_method: VelocityMethod = method if isinstance(method, VelocityMethod) else Full()
        self.feature_method = method if isinstance(method, FeatureMethod) else None
        self.is_watched = isinstance(method, ExternalMethod) and not isinstance(method, VelocityMethod)
        self.blocks_are_booked = isinstance(method, ResidualMethod) or self.is_watched  # one by one, by a seam
        self.runs: list[Run] = []
        self.is_open = True
        self._announced: _Announced | None = None
        self._grid: Schedule | None = None  # of the pipeline's own scheduler; Cosmos 2 changes it before the first step

    @property
    def run(self) -> Run:
        """The run in progress or the latest one.

        Raises:
            RuntimeError: none has begun.
        """
        if not self.runs:
            raise RuntimeError("no denoising step was seen; call the pipeline inside the block of attach")
        return self.runs[-1]

    def set_timesteps(self, scheduler: Any, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if self.is_open:
            schedule = schedule_of(scheduler)
            self.method.check(schedule)
            self._grid = schedule if scheduler is self.scheduler else self._grid
            if self._announced is None or scheduler is self.scheduler:
                self._announced = _Announced(scheduler, schedule, now(self.device))
        return result

    def call_denoiser(
        self, name: str, denoiser: nn.Module, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Run the denoiser, or hand back a placeholder at a step that is skipped."""
        run, shapes = self._run_in_progress(), _shapes(args, kwargs)
        run.open_step()
        run.calls += 1
        placeholder = run.placeholder(shapes)
        if run.branch == 0:  # without a placeholder guidance has changed, and so has what could be reused
            run.computing = run.index == 0 or placeholder is None or self._decides(run)
        if not run.computing and placeholder is not None:
            return placeholder
        run.open_call(name, shapes, partial(described, denoiser, args, kwargs))
        run.whole = run.is_first or self._is_full(run, name)
        output = original(*args, **kwargs)
        self._book_call(run, denoiser)
        if self.velocity_method.history:
            run.placeholders[run.branch] = (shapes, output)
        return output

    def _run_in_progress(self) -> Run:
        if self._announced is not None:
            scheduler, schedule, at = self._announced
            history = None if self.keep else self.velocity_method.history
            self.runs.append(Run(schedule.tail(first_index(scheduler)), history, began=at))
            self.run.memory = self.velocity_method.new_run()
            self._announced = None
        if not self.runs or self.run.is_done:
            raise RuntimeError(
                "a denoiser was called, but its pipeline has set no timesteps since the last step: is it shared with "
                "another pipeline? Then attach to that one, or call it outside of this block"
            )
        self.run.check_thread()
        return self.run

    def _decides(self, run: Run) -> bool:
        lane = run.lane
        assert lane.latents is not None
        return self.velocity_method.decides(run.step, lane.latents, lane.trajectory, run.memory)

    def _is_full(self, run: Run, denoiser: str) -> bool:
        if self.feature_method is None:
            return True
        return self.feature_method.full(run.step, run.branch_state(denoiser, self.feature_method.new_branch))

    def _book_call(self, run: Run, denoiser: nn.Module) -> None:
        """Book what a denoiser call cost, but for blocks that a seam books one by one."""
        run.ledger.denoiser_calls += 1
        run.ledger.book("embed_out")
        if self.blocks_are_booked:
            return
        for stack, _ in self.adapter.blocks(denoiser) if self.adapter.stacks else ():
            run.book_block(stack.unit)
        run.ledger.full_calls += run.whole

    def step(
        self,
        scheduler: Any,
        original: Callable[..., Any],
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Move with the method's velocity."""
        if not self.is_open:
            return original(model_output, timestep, sample, *args, **kwargs)
        run = self.run
        lane = self._lane(run, scheduler, timestep)
        step, latents = lane.schedule.step(lane.index), lane.open_step(sample)
        computed = model_output if run.computing else None
        applied = self.velocity_method.velocity(step, latents, computed, lane.trajectory)
        velocity = applied if computed is None else computed
        read = TENSORS if self.keep else self.velocity_method.reads(step, run.computing)
        entry = Entry(step.index, step.sigma, latents, velocity, applied, run.computing).only(read)
        result = original(applied, timestep, sample, *args, **kwargs)
        if lane.index == 0 and not moves_as_euler(scheduler, sample, result[0], applied, step.dsigma):
            lane.euler_latents = sample.float()
        lane.close_step(entry, applied, result[0])
        if not run.stepped:
            run.ledger.close_step(run.calls)
        run.stepped = True
        if run.is_done:
            self._close(run)
        return result

    def _lane(self, run: Run, scheduler: Any, timestep: Any) -> Lane:
        """The lane of a scheduler, if the session has seen what it should before this step of it."""
        run.check_thread()
        if run.calls == 0:
            raise RuntimeError(
                f"no denoiser call was seen in step {run.index}; the adapter names the wrong denoisers, or CPU offload "
                "put its own hooks back after a call: then attach anew for each call"
            )
        lane = run.lanes.get(id(scheduler))
        if lane is None:
            start = first_index(scheduler, timestep)
            grid = self._grid if scheduler is self.scheduler and self._grid is not None else schedule_of(scheduler)
            lane = Lane(grid.tail(start), start, Trajectory(run.history))
            if scheduler is self.scheduler or not run.lanes:
                run.lanes, run.schedule = {id(scheduler): lane} | run.lanes, lane.schedule
            run.lanes[id(scheduler)] = lane
        if lane.index != run.index or scheduler.step_index not in (None, lane.start + lane.index):
            raise RuntimeError(
                f"the solver is at step {scheduler.step_index} of its grid and has taken {lane.index} steps, in "
                f"round {run.index} of the denoiser: steps out of order, or parts of the latents at other times than "
                "the rest, are not supported"
            )
        return lane

    def _close(self, run: Run) -> None:
        run.ended = now(self.device)
        if not self.keep:  # the VAE will want the memory
            run.states.clear()
            run.branch_states.clear()
            run.placeholders.clear()


def _shapes(args: Any, kwargs: Any) -> Signature:
    """Shapes of the tensors of a denoiser call."""
    return tuple(leaf.shape for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))


@contextmanager
def attach(pipe: Any, adapter: ModelAdapter, method: Method, *, keep: bool = False) -> Iterator[Session]:
    """Run the pipeline calls of this block with ``method``; with CPU offload, one call a block.

    Args:
        pipe: a diffusers flow-matching pipeline.
        adapter: names its denoisers; see :func:`meancache.models.adapter_for`.
        method: what to do at each step.
        keep: keep every step in ``session.run.trajectory``, and the method's states after the run (calibration).

    Yields:
        The session; ``session.run`` is the latest run, with its trajectory and what it cost.

    Raises:
        ValueError: the adapter does not fit the pipeline, its scheduler solves no flow, something else is attached to
            it, ``method`` is none, or it does not fit the sigma grid.
        RuntimeError: the block ended without one denoising step, or in the middle of a run.
    """
    check_method(method)
    check_solver(pipe)
    for name in adapter.denoisers:
        if not isinstance(getattr(pipe, name, None), nn.Module):
            raise ValueError(f"{type(pipe).__name__} has no denoiser {name!r}; check the adapter {adapter.name!r}")
    denoisers = {name: getattr(pipe, name) for name in adapter.denoisers}
    check_is_free(pipe, denoisers, reaches_in=isinstance(method, ResidualMethod | FeatureMethod | ExternalMethod))
    device = torch.device(getattr(pipe, "_execution_device", pipe.device))
    session = Session(pipe.scheduler, method, adapter, device, keep)
    with ExitStack() as exits:
        if isinstance(method, ExternalMethod):
            exits.enter_context(method.enabled(pipe))
        for owner, name, replacement in list(_overrides(session, denoisers)):
            exits.enter_context(override(owner, name, replacement))
        try:
            yield session
        finally:
            session.is_open = False
    _check_end(pipe, session)


def _overrides(session: Session, denoisers: dict[str, nn.Module]) -> Iterator[Override]:
    """All that the session and the method's seams put on the pipeline."""
    method, adapter = session.method, session.adapter
    for name, around in (("set_timesteps", session.set_timesteps), ("step", session.step)):
        yield Override(session.scheduler, name, Around(around, session.scheduler, name))

    def current() -> Run:
        return session.run

    for name, denoiser in denoisers.items():
        yield Override(denoiser, entry_of(denoiser), _gate(session, name, denoiser))
        if isinstance(method, FeatureMethod):
            yield from FeatureSeam(current, method, name, adapter.blocks(denoiser)).overrides()
        if isinstance(method, ResidualMethod):
            for blocks in adapter.block_lists(denoiser, fused=method.fused):
                share = len(blocks) / len(adapter.blocks(denoiser))
                yield from ResidualSeam(current, method, adapter, name, blocks, share).overrides()
        if session.is_watched:
            yield from BlockCounter(current, adapter.blocks(denoiser)).overrides()


def _gate(session: Session, name: str, denoiser: nn.Module) -> Around:
    def call(owner: nn.Module, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return session.call_denoiser(name, denoiser, original, args, kwargs)

    return Around(call, denoiser, entry_of(denoiser))


def _check_end(pipe: Any, session: Session) -> None:
    """Raise RuntimeError if the block ended before a run did, unless the user has interrupted it."""
    if not session.runs and session._announced is not None:
        raise RuntimeError(f"{type(pipe).__name__} set its timesteps but called no denoiser that the session saw")
    run = session.run
    if not run.is_done and not getattr(pipe, "_interrupt", False):
        taken = run.lane.index if run.lanes else 0
        raise RuntimeError(
            f"{type(pipe).__name__} ended after {taken} of {run.schedule.num_steps} steps that the session saw: it "
            "took the others with another scheduler, or with timesteps that are not its scheduler's"
        )

"""An independent replay: the velocity replaced outside the engine, with the denoiser computing at every step.

Nothing of the engine is imported. The solver's class is patched for the length of a run, so that copies of a scheduler
are seen too, and every tensor is cloned before it is kept. The rules are written anew from the specification:

* ``hold``: the last computed velocity is kept;
* ``release``: each skipped step adds JVP * dsigma to the velocity before it, JVP over the last K steps;
* ``paper``: one average velocity for each edge, which replaces that of the computed step too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """What to do at which step: the numbers of a plan.

    Attributes:
        name: "hold", "release", "paper", or "full": every step computed.
        nodes: computed steps of the grid.
        spans: K of the edge that leaves each node.
        displacement: of "latents" or summed from "velocities".
    """

    name: str = "full"
    nodes: tuple[int, ...] = (0,)
    spans: tuple[int, ...] = (1,)
    displacement: str = "latents"

    def edge(self, index: int) -> int:
        return max(number for number, node in enumerate(self.nodes) if node <= index)


@dataclass
class Passed:
    """One run of one scheduler, by step of its grid; a run may start inside the grid.

    Attributes:
        sigmas: the grid that was set.
        first: the step that it started with.
        begin: the step since which the latents have had their shape.
        latents: before a step.
        velocity: at a step: computed there, or estimated.
        applied: what the solver moved with.
        calls: of the denoiser, since the step before: the shapes of each one's inputs.
    """

    sigmas: list[float]
    first: int
    begin: int
    latents: dict[int, Tensor] = field(default_factory=dict)
    velocity: dict[int, Tensor] = field(default_factory=dict)
    applied: dict[int, Tensor] = field(default_factory=dict)
    calls: dict[int, list[Any]] = field(default_factory=dict)

    def computes(self, index: int, rule: Rule) -> bool:
        """By plan, and where nothing can be reused: at the start, and where the denoiser's inputs change shape."""
        if rule.name == "full" or index == self.first or index in rule.nodes:
            return True
        return self.calls[index][:1] != self.calls[index - 1][:1]


class Replay:
    """Patched into a scheduler class; ``runs`` has what passed, run by run in the order they began.

    ``calls`` gives the denoiser calls since it was last asked.
    """

    def __init__(self, rule: Rule, calls: Callable[[], list[Any]]) -> None:
        self.rule = rule
        self.calls = calls
        self.runs: list[Passed] = []
        self._current: dict[int, tuple[Any, Passed]] = {}  # with the scheduler, so that its id stays its own
        self._grids: dict[int, list[float]] = {}

    def begin(self, scheduler: Any) -> None:
        """A scheduler has set its grid: its next step begins another run."""
        self._current.pop(id(scheduler), None)
        self._grids[id(scheduler)] = _sigmas(scheduler)

    def step(self, scheduler: Any, computed: Tensor, timestep: Any, latents: Tensor) -> Tensor:
        """The velocity to move with at this step."""
        index = _index(scheduler, timestep)
        if id(scheduler) not in self._current:
            run = Passed(self._grids.get(id(scheduler), _sigmas(scheduler)), index, index)
            self._current[id(scheduler)] = (scheduler, run)
            self.runs.append(run)
        run = self._current[id(scheduler)][1]
        run.calls[index] = self.calls()
        run.latents[index] = latents.clone()
        if index > run.first and run.latents[index - 1].shape != latents.shape:
            run.begin = index  # nothing behind can be compared with what comes
        if run.computes(index, self.rule):
            run.velocity[index] = computed.clone()
            run.applied[index] = self._moves_with(run, index)
        else:
            run.applied[index] = self._estimate(run, index)
            run.velocity[index] = run.applied[index]
        return run.applied[index]

    def _span(self, run: Passed, index: int) -> int:
        """K at this step, or as many steps as there are behind it."""
        return min(self.rule.spans[self.rule.edge(index)], index - run.begin)

    def _moves_with(self, run: Passed, index: int) -> Tensor:
        """At a computed step: its velocity, but rule ``paper`` corrects it for the whole edge."""
        v = run.velocity[index]
        if self.rule.name != "paper":
            return v
        span = self._span(run, index)
        ends = [*self.rule.nodes, len(run.sigmas) - 1]
        end = ends[self.rule.edge(index) + 1]
        if span <= 1 or end == index + 1:
            return v
        jvp = (_mean_applied(run, index - span, index) - run.velocity[index - span]) / _time(run, index - span, index)
        return v + _time(run, index, end) * jvp

    def _estimate(self, run: Passed, index: int) -> Tensor:
        """At a skipped step."""
        before = run.applied[index - 1] if self.rule.name == "paper" else run.velocity[index - 1]
        span = self._span(run, index)
        if self.rule.name in ("hold", "paper") or self.rule.spans[self.rule.edge(index)] <= 1:
            return before
        start = index - span
        if self.rule.displacement == "latents":
            mean = (run.latents[index] - run.latents[start]) / _time(run, start, index)
        else:
            mean = _mean_applied(run, start, index)
        jvp = (mean - run.velocity[start]) / _time(run, start, index)
        return before + _time(run, index, index + 1) * jvp


def _sigmas(scheduler: Any) -> list[float]:
    """The grid of a scheduler, empty where it has none, which nobody can replay."""
    sigmas = getattr(scheduler, "sigmas", None)
    return [] if sigmas is None else [float(sigma) for sigma in sigmas]


def _time(run: Passed, start: int, end: int) -> float:
    return run.sigmas[end] - run.sigmas[start]


def _mean_applied(run: Passed, start: int, end: int) -> Tensor:
    """Average velocity that the solver moved with, weighted by the lengths of the steps."""
    moved = sum(_time(run, index, index + 1) * run.applied[index] for index in range(start, end))
    return moved / _time(run, start, end)


def _index(scheduler: Any, timestep: Any) -> int:
    """The step of the grid that a scheduler is about to take."""
    for known in (scheduler.step_index, scheduler.begin_index):
        if known is not None:
            return int(known)
    at = torch.as_tensor(timestep).float().flatten()[0]
    return int((scheduler.timesteps.float() - at).abs().argmin())


@contextmanager
def replayed(scheduler: Any, replay: Replay) -> Iterator[Replay]:
    """Runs of this block move with what ``replay`` says, whichever scheduler of this class takes the step."""
    kind = type(scheduler)
    original_step, original_set = kind.step, kind.set_timesteps

    @wraps(original_step)  # pipelines inspect its signature
    def step(self: Any, model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        return original_step(self, replay.step(self, model_output, timestep, sample), timestep, sample, *args, **kwargs)

    @wraps(original_set)
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> Any:
        original_set(self, *args, **kwargs)
        replay.begin(self)

    with patch.object(kind, "step", step), patch.object(kind, "set_timesteps", set_timesteps):
        yield replay

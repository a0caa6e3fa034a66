"""All state of one run: from the first denoiser call after ``set_timesteps`` to the last solver step.

Made anew for every run, so there is nothing to reset.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from meancache.flops.call import Arguments
from meancache.ledger import Ledger
from meancache.schedule import Schedule, Step
from meancache.trajectory import Entry, FullTrajectory, Trajectory

Signature = tuple[Any, ...]  # shapes of a denoiser call's tensors


@dataclass
class Lane:
    """What one scheduler steps through. A run has one, or more where a pipeline copies its scheduler (LTX-2's audio).

    Attributes:
        schedule: the part of its sigma grid that it runs.
        start: index of the first step on the whole grid.
        trajectory: its past steps.
        index: steps taken.
        euler_latents: float32; what Euler steps would have made of its first latents, where it moves otherwise.
        latents: its latents after the latest step.
    """

    schedule: Schedule
    start: int
    trajectory: Trajectory
    index: int = 0
    euler_latents: Tensor | None = None
    latents: Tensor | None = None

    @property
    def is_done(self) -> bool:
        return self.index == self.schedule.num_steps

    def open_step(self, sample: Tensor) -> Tensor:
        """The latents before a step, as Euler steps would have made them. Latents of another shape begin anew."""
        if self.latents is not None and self.latents.shape != sample.shape:
            self.trajectory.clear()
            self.euler_latents = None if self.euler_latents is None else sample.float()
        return sample if self.euler_latents is None else self.euler_latents

    def close_step(self, entry: Entry, applied: Tensor, latents: Tensor) -> None:
        """Take note of a step, the velocity it moved with and the latents it gave."""
        if self.euler_latents is not None:
            self.euler_latents = self.euler_latents + self.schedule.step(self.index).dsigma * applied.float()
        self.trajectory.append(entry)
        self.index, self.latents = self.index + 1, latents


@dataclass
class Run:
    """One run.

    Attributes:
        schedule: the sigma grid, or the rest of it where the run begins inside (img2img).
        history: past steps that are kept, None for all.
        began: clock at ``set_timesteps``, seconds.
        ended: clock after the last ``step``, seconds.
        index: solver step.
        calls: denoiser calls of this step so far.
        num_branches: most that a step has had.
        computing: the denoiser runs at this step.
        stepped: a scheduler has taken this step; the next denoiser call begins the next one.
        is_first: the call in progress is the first of its denoiser and branch, with inputs of these shapes.
        whole: blocks that run in this call run with all of their modules.
        lanes: by scheduler, the pipeline's own first.
        states: of methods that reach into the denoiser; a key is (denoiser, ..., branch).
        branch_states: of feature methods whose full calls depend on the run; a key is (denoiser, branch).
        memory: state of a velocity method that decides by what it saw.
        placeholders: of each branch, the shapes of its latest inputs and the output.
        ledger: what it cost.
    """

    schedule: Schedule
    history: int | None
    began: float
    ended: float = 0.0
    index: int = 0
    calls: int = 0
    num_branches: int = 0
    computing: bool = True
    stepped: bool = False
    is_first: bool = True
    whole: bool = True
    lanes: dict[int, Lane] = field(default_factory=dict)
    states: dict[Hashable, Any] = field(default_factory=dict)
    branch_states: dict[tuple[str, int], Any] = field(default_factory=dict)
    memory: Any = None
    placeholders: dict[int, tuple[Signature, Any]] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    _signatures: dict[tuple[str, int], Signature] = field(default_factory=dict)
    _thread: int = field(default_factory=threading.get_ident)

    @property
    def step(self) -> Step:
        return self.schedule.step(self.index)

    @property
    def branch(self) -> int:
        """Number of the denoiser call in progress within its step."""
        return self.calls - 1

    @property
    def nfe(self) -> float:
        """Computed steps; a step of which only some calls were full counts by their share."""
        return self.ledger.nfe

    @property
    def lane(self) -> Lane:
        """That of the pipeline's own scheduler, or of the first copy where it takes no step itself."""
        return next(iter(self.lanes.values()))

    @property
    def trajectory(self) -> Trajectory:
        return self.lane.trajectory

    @property
    def final_latents(self) -> Tensor | None:
        """What the last step gave; None before."""
        return self.lane.latents if self.is_done else None

    @property
    def is_done(self) -> bool:
        return bool(self.lanes) and all(lane.is_done for lane in self.lanes.values())

    def check_thread(self) -> None:
        """Raise RuntimeError in any thread but that of the run's first call."""
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "two threads call one pipeline at once, but its scheduler holds one run: give each thread a pipeline "
                "of its own"
            )

    def open_step(self) -> None:
        """Go on to the next step if a scheduler has taken this one."""
        if self.stepped:
            self.index, self.calls, self.stepped = self.index + 1, 0, False

    def open_call(self, denoiser: str, signature: Signature, arguments: Callable[[], Arguments]) -> None:
        """Begin a call that really runs. A branch whose inputs have other shapes than before begins anew."""
        key = (denoiser, self.branch)
        before = self._signatures.get(key)
        self.is_first = before != signature
        if before is not None and self.is_first:
            self.branch_states.pop(key, None)
            for state in [state for state in self.states if _belongs(state, key)]:
                del self.states[state]
        self._signatures[key] = signature
        self.num_branches = max(self.num_branches, self.calls)
        self.ledger.open_call((self.branch, signature), arguments)

    def placeholder(self, signature: Signature) -> Any:
        """The latest output for inputs of these shapes, of this branch or else of another; None if there is none.

        A branch that has not been seen yet may have fewer rows (SD3's skip-layer guidance): then as many of another's.
        """
        known = [self.placeholders.get(self.branch), *self.placeholders.values()]
        for shapes, output in filter(None, known):
            if shapes == signature:
                return output
            if self.branch > 0 and _is_part(signature, shapes):
                rows = signature[0][0]
                return tree_map(lambda leaf, rows=rows: leaf[:rows] if isinstance(leaf, Tensor) else leaf, output)
        return None

    def state(self, key: Hashable, new: Callable[[], Any]) -> Any:
        """The state kept under ``key``, made by ``new`` where there is none yet."""
        if key not in self.states:
            self.states[key] = new()
        return self.states[key]

    def branch_state(self, denoiser: str, new: Callable[[], Any]) -> Any:
        """The state of the branch in progress, made by ``new`` where there is none yet."""
        key = (denoiser, self.branch)
        if key not in self.branch_states:
            self.branch_states[key] = new()
        return self.branch_states[key]

    def book_block(self, kind: str) -> None:
        """Book a block that ran in this call."""
        self.ledger.book(f"{'blocks' if self.whole else 'modulations'}:{kind}")

    def full_trajectory(self) -> FullTrajectory:
        """The finished run as calibration reads it; it was attached with ``keep``."""
        assert self.final_latents is not None
        entries = [self.trajectory[index] for index in range(self.lane.index)]
        latents = torch.stack([*(entry.latents for entry in entries), self.final_latents])
        return FullTrajectory(self.schedule, latents, torch.stack([entry.velocity for entry in entries]))


def _is_part(part: Signature, whole: Signature) -> bool:
    """Whether each tensor of a call has the shape of one in another call, but for fewer rows."""
    pairs = list(zip(part, whole))
    return len(part) == len(whole) and all(p[1:] == w[1:] and len(p) > 0 and p[0] <= w[0] for p, w in pairs)


def _belongs(state: Hashable, key: tuple[str, int]) -> bool:
    assert isinstance(state, tuple)
    return (state[0], state[-1]) == key

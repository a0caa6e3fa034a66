"""One pipeline call and what it took; a threshold method that is made to compute so many steps."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from meancache.models import adapter_for
from meancache.protocols import Method, Probe, ResidualMethod
from meancache.schedule import Schedule, Step
from meancache.session import attach
from meancache.timing import now, peak_memory_mib, reset_peak_memory


class StepTime(NamedTuple):
    """One solver step: its seconds, and whether all blocks ran in some guidance branch."""

    seconds: float
    computed: bool


@dataclass(frozen=True)
class Call:
    """One pipeline call: seconds of its parts, MiB, and of a call that was stopped the steps but the first."""

    schedule: Schedule
    nfe: float
    text_s: float
    denoise_s: float
    vae_s: float
    peak_mib: float
    steps: tuple[StepTime, ...]


@dataclass(frozen=True)
class Subject:
    """What is called: a pipeline, and the arguments of its call."""

    pipe: Any
    inputs: dict[str, Any]
    device: torch.device

    def call(self, method: Method, num_steps: int, *, stop: int | None = None, decode: bool = False) -> Call:
        """Call the pipeline once.

        Args:
            method: what is attached.
            num_steps: of the run.
            stop: read the clock after every step, which keeps a GPU from running ahead, and end after so many; else
                the clock is read around the loop alone.
            decode: make pictures of the latents.
        """
        ticks: list[tuple[float, float]] = []

        def tick(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            ticks.append((now(self.device), session.run.nfe))
            pipe._interrupt = index + 1 == stop
            return tensors

        options: dict[str, Any] = {"output_type": "pil" if decode else "latent", "num_inference_steps": num_steps}
        options |= {} if stop is None else {"callback_on_step_end": tick}
        reset_peak_memory(self.device)
        with attach(self.pipe, adapter_for(self.pipe), method) as session:
            called = now(self.device)
            self.pipe(**self.inputs, generator=torch.Generator().manual_seed(0), **options)
            returned = now(self.device)
        clock = session.run
        ended = ticks[-1][0] if ticks else clock.ended
        steps = tuple(StepTime(b[0] - a[0], b[1] > a[1]) for a, b in pairwise(ticks))
        parts = (clock.began - called, ended - clock.began, returned - ended)
        return Call(session.run.schedule, session.run.nfe, *parts, peak_memory_mib(self.device), steps)


def spread(steps: Sequence[StepTime]) -> dict[str, Any]:
    """Milliseconds of the computed and of the skipped steps: median, quartiles and number of each."""
    found: dict[str, Any] = {}
    for name, computed in (("computed", True), ("skipped", False)):
        some = [1e3 * step.seconds for step in steps if step.computed == computed]
        low, middle, high = np.percentile(some, [25, 50, 75]).tolist() if some else (None, None, None)
        found |= {f"{name}_ms": middle, f"{name}_quartiles": [low, high], f"{name}_n": len(some)}
    return found


def evenly(count: int, num_steps: int) -> frozenset[int]:
    """So many steps, the first and the last among them."""
    return frozenset(round(i * (num_steps - 1) / max(count - 1, 1)) for i in range(count))


def forced(method: Method, steps: frozenset[int]) -> ResidualMethod:
    """The method, but that it computes these steps; it pays for every decision and then does not keep to it.

    Raises:
        ValueError: a method that decides nothing by what it sees.
    """
    if not isinstance(method, ResidualMethod):
        raise ValueError(f"force= is for methods that skip blocks by a threshold, not for {type(method).__name__}")
    kind: Any = type(method)

    def computes(self: Any, step: Step, state: Any, probe: Probe) -> bool:
        kind.computes(self, step, state, probe)
        return step.index in steps

    values = {entry.name: getattr(method, entry.name) for entry in fields(kind)}
    result: ResidualMethod = type(f"Forced{kind.__name__}", (kind,), {"computes": computes})(**values)
    return result

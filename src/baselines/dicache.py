"""DiCache: a shallow probe decides online whether to skip, and how far to extrapolate the residual.

Paper: "DiCache: Let Diffusion Model Determine Its Own Cache", arXiv 2508.17356.
Upstream: Bujiazi/DiCache (scripts for FLUX, HunyuanVideo and Wan 2.1, whose rules differ: see ``variant``).

As upstream, errors are added up and compared in the dtype of the hidden states, threshold included: in bfloat16 a sum
near 0.8 grows in steps of 1/256.

Differs from upstream: state lives in the run; windows keep the two computed steps that are read and no more, and
the probe's input is kept only for the error that compares it.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from baselines.reuse import relative_l1
from meancache.protocols import Probe, ResidualMethod, Streams
from meancache.schedule import Step


class Variant(NamedTuple):
    """What differs between upstream's scripts.

    Attributes:
        extra: steps beyond int(warmup_share * num_steps) that are computed without asking the probe.
        last: the last step is always computed.
        inclusive: an accumulated error equal to the threshold still skips.
        longest: upper end of the extrapolation factor.
    """

    extra: int
    last: bool
    inclusive: bool
    longest: float


VARIANTS = {
    "flux": Variant(extra=1, last=True, inclusive=False, longest=1.5),
    "hunyuan_video": Variant(extra=0, last=False, inclusive=True, longest=1.5),
    "wan": Variant(extra=0, last=False, inclusive=False, longest=2.0),
}
ERRORS = ("delta_y", "delta_minus")


class _Change(NamedTuple):
    """What a computed step did to the image tokens."""

    by_all: Tensor
    by_probe: Tensor


@dataclass
class _State:
    accumulated: float = 0.0  # rounded to the dtype of the hidden states
    entry: Tensor | None = None  # of the step before, where the error is delta_minus
    probed: Tensor | None = None
    window: deque[_Change] = field(default_factory=lambda: deque(maxlen=2))


@dataclass(frozen=True)
class DiCache(ResidualMethod):
    """Accumulate the change of the probe's output; compute when it reaches the threshold.

    Args:
        threshold: delta, >= 0.
        warmup_share: share of the first steps that are always computed.
        probe_depth: blocks of the probe.
        error: "delta_y", the relative change of the probe's output, or "delta_minus", its difference from the change
            of the probe's input.
        resumes: a computed step goes on from the probe (upstream); otherwise it starts over, as the FLOPs of the
            paper's tables say that theirs did. The pictures are the same.
        variant: whose details: "flux", "hunyuan_video" or "wan".

    Raises:
        ValueError: a value out of range.
    """

    sees_batch = True

    threshold: float
    warmup_share: float = 0.2
    probe_depth: int = 1
    error: str = "delta_y"
    resumes: bool = True
    variant: str = "flux"

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be a number >= 0, got {self.threshold!r}")
        if not 0 <= self.warmup_share <= 1:
            raise ValueError(f"warmup_share must be between 0 and 1, got {self.warmup_share!r}")
        if not isinstance(self.probe_depth, int) or self.probe_depth < 1:
            raise ValueError(f"probe_depth must be a whole number >= 1, got {self.probe_depth!r}")
        for name, value, choices in [("error", self.error, ERRORS), ("variant", self.variant, tuple(VARIANTS))]:
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")

    def new_state(self) -> Any:
        return _State()

    def restarts(self, step: Step) -> bool:
        return not self.resumes and not self._direct(step)

    def computes(self, step: Step, state: _State, probe: Probe) -> bool:
        if self._direct(step) or state.probed is None:
            state.accumulated = 0.0
            return True
        change = relative_l1(probe.here.hidden, state.probed)
        if state.entry is not None:
            change = (change - relative_l1(probe.entry.hidden, state.entry)).abs()
        state.accumulated = (change + state.accumulated).item()
        threshold = torch.tensor(self.threshold, dtype=change.dtype).item()
        inclusive = VARIANTS[self.variant].inclusive
        if state.accumulated < threshold or (inclusive and state.accumulated == threshold):
            return False
        state.accumulated = 0.0
        return True

    def observe(self, step: Step, state: _State, probe: Probe, out: Streams) -> None:
        entry = probe.entry.hidden
        state.window.append(_Change(out.hidden - entry, probe.here.hidden - entry))
        self._note(state, probe)

    def predict(self, step: Step, state: _State, probe: Probe) -> Streams:
        entry, newest = probe.entry.hidden, state.window[-1]
        residual = newest.by_all
        if len(state.window) == 2:
            before = state.window[0]
            factor = self._factor(probe.here.hidden - entry, before.by_probe, newest.by_probe)
            residual = before.by_all + factor * (newest.by_all - before.by_all)
        self._note(state, probe)
        return Streams(entry + residual, probe.entry.encoder)

    def _note(self, state: _State, probe: Probe) -> None:
        state.probed = probe.here.hidden
        state.entry = probe.entry.hidden if self.error == "delta_minus" else None

    def _factor(self, now: Tensor, before: Tensor, newest: Tensor) -> Tensor:
        """How far along the line through the last two computed steps the probe says we are; a scalar tensor."""
        factor = (now - before).abs().mean() / (newest - before).abs().mean()
        return torch.nan_to_num(factor, nan=1.0, posinf=VARIANTS[self.variant].longest).clamp(
            1.0, VARIANTS[self.variant].longest
        )

    def _direct(self, step: Step) -> bool:
        variant = VARIANTS[self.variant]
        first = max(int(self.warmup_share * step.num_steps) + variant.extra, 1)
        return step.index < first or (variant.last and step.index == step.num_steps - 1)

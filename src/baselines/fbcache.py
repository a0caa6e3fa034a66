"""First-Block Cache: skip the other blocks while the first one's residual is near that of the last computed call.

There is no paper: it is ParaAttention's method (chengzeyi/ParaAttention), and diffusers' FirstBlockCacheConfig, whose
rule this is. It differs from DBCache with one first block in three small things: no warm-up, a change equal to the
threshold skips, and a threshold >= 1 is a threshold.

Differs from diffusers: state lives in the run, so nothing is stale after an interrupted call, and it is kept by branch
without the pipeline's help (diffusers needs a pipeline that names its branches).
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from baselines.reuse import magnitude, relative_l1
from meancache.protocols import Probe, ResidualMethod, Streams
from meancache.schedule import Step


@dataclass
class _State:
    first: Tensor | None = None  # the first block's residual in the last computed call
    size: Tensor | None = None  # mean absolute value of it
    rest: Tensor | None = None  # the other blocks' residual; text is not read after the last


@dataclass(frozen=True)
class FBCache(ResidualMethod):
    """Compute where the first block's residual changed by more than ``threshold`` since the last computed call.

    Args:
        threshold: largest relative L1 change of a skipped step, >= 0.

    Raises:
        ValueError: a negative threshold.
    """

    threshold: float

    probe_depth = 1
    sees_batch = True

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be a number >= 0, got {self.threshold!r}")

    def new_state(self) -> Any:
        return _State()

    def computes(self, step: Step, state: _State, probe: Probe) -> bool:
        first = probe.here.hidden - probe.entry.hidden
        if state.first is not None and not relative_l1(first, state.first, state.size).item() > self.threshold:
            return False
        state.first, state.size = first, magnitude(first)
        return True

    def observe(self, step: Step, state: _State, probe: Probe, out: Streams) -> None:
        state.rest = out.hidden - probe.here.hidden

    def predict(self, step: Step, state: _State, probe: Probe) -> Streams:
        assert state.rest is not None
        return Streams(probe.here.hidden + state.rest, probe.here.encoder)

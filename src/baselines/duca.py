"""DuCa: ToCa's steps and steps on which no block runs at all, in turn.

Paper: "Accelerating Diffusion Transformers with Dual Feature Caching", arXiv 2412.18911.
Upstream: Shenyi-Z/DuCa; FLUX in Shenyi-Z/ToCa, HunyuanVideo in Shenyi-Z/TaylorSeer.

A conservative step is one of ToCa. At an aggressive step what the last block gave, at a full or conservative step, goes
once more through the output layer, which sees the current time. FLUX begins each interval with an aggressive step and
HunyuanVideo with a conservative one. Released HunyuanVideo: random scores, and ``single_writeback=False``.

Differs from upstream as ToCa does, and on FLUX: upstream stores what enters the last single-stream block, whose update
is then missing at aggressive steps; here it is what leaves it, as in upstream's HunyuanVideo.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from baselines.toca import ToCa
from meancache.protocols import Probe, ResidualMethod, Streams
from meancache.schedule import Step

FIRST = ("aggressive", "conservative")


@dataclass
class _Final:
    """What left the last block when blocks last ran; text is not read any more there. (B, S, D)"""

    hidden: Tensor | None = None


@dataclass(frozen=True)
class DuCa(ToCa, ResidualMethod):
    """ToCa that skips all blocks on every other step between full ones.

    Args:
        first: aggressive or conservative; the step after a full one. Other arguments: see ToCa.

    Raises:
        ValueError: another value of ``first``, or what ToCa refuses.
    """

    first: str = "aggressive"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first not in FIRST:
            raise ValueError(f"first must be one of {', '.join(FIRST)}, got {self.first!r}")

    def new_state(self) -> Any:
        return _Final()

    def computes(self, step: Step, state: _Final, probe: Probe) -> bool:
        """Whether blocks run: at full steps, and as ToCa at conservative ones."""
        return not self._is_aggressive(step.index)

    def observe(self, step: Step, state: _Final, probe: Probe, out: Streams) -> None:
        # a copy, since a fused block gives image tokens as part of a longer tensor, which would stay with them
        state.hidden = out.hidden.clone() if self._is_aggressive(step.index + 1) else None

    def predict(self, step: Step, state: _Final, probe: Probe) -> Streams:
        assert state.hidden is not None
        return Streams(state.hidden, probe.entry.encoder)

    def _is_aggressive(self, index: int) -> bool:
        since_full = self.since_full(index)
        return since_full > 0 and (since_full % 2 == 1) == (self.first == "aggressive")

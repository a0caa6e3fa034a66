"""What methods that skip blocks share: how far two states are apart, and a residual used again.

TeaCache, MagCache and LeMiCa put the residual of the last computed call, as it was, in place of the skipped blocks.
Only the image tokens' residual is kept: what the text stream holds after the last block is never read.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from meancache.protocols import Probe, ResidualMethod, Streams
from meancache.schedule import Step


def magnitude(x: Tensor) -> Tensor:
    """mean|x| over all elements, the batch included."""
    return x.abs().mean()


def relative_l1(new: Tensor, old: Tensor, size: Tensor | None = None) -> Tensor:
    """mean|new - old| / mean|old| over all elements, the batch included: a scalar in their dtype.

    Whoever decides by it waits for the device: one number a call. ``size`` is mean|old| where it is known already.
    """
    return magnitude(new - old) / (magnitude(old) if size is None else size)


@dataclass
class ReuseState:
    """The residual of all blocks in the last computed call. (B, S, D)"""

    residual: Tensor | None = None


class ReusesResidual(ResidualMethod):
    """A method that decides when to skip all blocks, and then adds the last residual to their input."""

    def new_state(self) -> Any:
        return ReuseState()

    def observe(self, step: Step, state: Any, probe: Probe, out: Streams) -> None:
        state.residual = out.hidden - probe.entry.hidden

    def predict(self, step: Step, state: Any, probe: Probe) -> Streams:
        return Streams(probe.entry.hidden + state.residual, probe.entry.encoder)

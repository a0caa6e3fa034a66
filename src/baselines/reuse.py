"""What TeaCache, MagCache and LeMiCa put in place of skipped blocks: the residual of the last computed call, as it was.

Only the image tokens' residual is kept: what the text stream holds after the last block is never read.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from meancache.protocols import Probe, ResidualMethod, Streams
from meancache.schedule import Step


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

"""TeaCache: skip all blocks while the modulated input of block 0, or the time embedding, has changed little.

Paper: "Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model", arXiv 2411.19108.
Upstream: ali-vilab/TeaCache (one script a model).

Differs from upstream: state lives in the run and not on the class, so nothing is stale after an interrupted run or with
another number of steps; guidance branches have states of their own. ``shared=True`` gives them one, as community ports
for Qwen-Image do: the second branch then sees no change and reuses the residual of the first.

What is compared belongs to the coefficients: upstream's for Wan 2.1 ("use_ret_steps") were fitted to the time embedding
that all blocks share, and its script computes the first five steps but not the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from baselines.reuse import ReusesResidual, ReuseState, relative_l1
from meancache.protocols import Probe
from meancache.schedule import Step

COMPARED = ("input", "time")


@dataclass
class _State(ReuseState):
    accumulated: float = 0.0
    compared: Tensor | None = None


@dataclass(frozen=True)
class TeaCache(ReusesResidual):
    """Accumulate the rescaled change of block 0's modulated input; compute when it reaches the threshold.

    Args:
        threshold: l; the accumulated change at which a step is computed, >= 0.
        coefficients: quartic that rescales relative changes of the input to those of the output, highest power first.
            Fitted for one model: conf/preset.
        shared: one state for all guidance branches; of all calls only the first is always computed.
        compares: "input", the modulated input of block 0, or "time", the time embedding.
        warmup: so many steps at the start are always computed.
        last: so is the last step.

    Raises:
        ValueError: a negative threshold, not five coefficients, or another value out of range.
    """

    sees_batch = True

    threshold: float
    coefficients: Sequence[float]
    shared: bool = False
    compares: str = "input"
    warmup: int = 1
    last: bool = True

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be a number >= 0, got {self.threshold!r}")
        if len(self.coefficients) != 5:
            raise ValueError(f"coefficients must be the five of a quartic, got {list(self.coefficients)}")
        if self.compares not in COMPARED:
            raise ValueError(f"compares must be one of {', '.join(COMPARED)}, got {self.compares!r}")
        if not isinstance(self.warmup, int) or self.warmup < 1:
            raise ValueError(f"warmup must be a whole number >= 1, got {self.warmup!r}")
        if self.shared and self.warmup > 1:
            raise ValueError(f"warmup={self.warmup} has no effect with shared=true; leave it at 1")

    @property
    def per_branch(self) -> bool:  # type: ignore[override]
        return not self.shared

    def new_state(self) -> Any:
        return _State()

    def computes(self, step: Step, state: _State, probe: Probe) -> bool:
        now, before = probe.time if self.compares == "time" else probe.modulated_input(), state.compared
        assert now is not None
        state.compared = now  # also where the step is skipped: changes are between neighbouring steps
        if before is None or (self._always(step) and not self.shared):
            state.accumulated = 0.0
            return True
        state.accumulated += float(np.polyval(self.coefficients, relative_l1(now, before).item()))
        if state.accumulated < self.threshold:
            return False
        state.accumulated = 0.0
        return True

    def _always(self, step: Step) -> bool:
        return step.index < self.warmup or (self.last and step.index == step.num_steps - 1)

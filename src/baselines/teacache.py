"""TeaCache: skip all blocks while the modulated input of block 0 has changed little.

Paper: "Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model", arXiv 2411.19108.
Upstream: ali-vilab/TeaCache (one script a model).

Differs from upstream: state lives in the run and not on the class, so nothing is stale after an interrupted run or with
another number of steps; guidance branches have states of their own. ``shared=True`` gives them one, as community ports
for Qwen-Image do: the second branch then sees no change and reuses the residual of the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from baselines.distance import relative_l1
from baselines.reuse import ReusesResidual, ReuseState
from meancache.protocols import Probe
from meancache.schedule import Step


@dataclass
class _State(ReuseState):
    accumulated: float = 0.0
    modulated: Tensor | None = None


@dataclass(frozen=True)
class TeaCache(ReusesResidual):
    """Accumulate the rescaled change of block 0's modulated input; compute when it reaches the threshold.

    Args:
        threshold: l; the accumulated change at which a step is computed, >= 0.
        coefficients: quartic that rescales relative changes of the input to those of the output, highest power first.
            Fitted for one model: conf/calibration.
        shared: one state for all guidance branches.

    Raises:
        ValueError: a negative threshold, or not five coefficients.
    """

    threshold: float
    coefficients: Sequence[float]
    shared: bool = False

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be a number >= 0, got {self.threshold!r}")
        if len(self.coefficients) != 5:
            raise ValueError(f"coefficients must be the five of a quartic, got {list(self.coefficients)}")

    @property
    def per_branch(self) -> bool:  # type: ignore[override]
        return not self.shared

    def new_state(self) -> Any:
        return _State()

    def computes(self, step: Step, state: _State, probe: Probe) -> bool:
        modulated, before = probe.modulated_input(), state.modulated
        state.modulated = modulated  # also where the step is skipped: changes are between neighbouring steps
        if before is None or (step.index in (0, step.num_steps - 1) and not self.shared):
            state.accumulated = 0.0
            return True
        state.accumulated += float(np.polyval(self.coefficients, relative_l1(modulated, before)))
        if state.accumulated < self.threshold:
            return False
        state.accumulated = 0.0
        return True

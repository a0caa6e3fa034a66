"""MagCache: skip all blocks while the magnitude of the residual, known from calibration, has changed little.

Paper: "MagCache: Fast Video Generation with Magnitude-Aware Cache", arXiv 2506.09045.
Upstream: Zehong-Ma/MagCache (one script a model); diffusers has the same rule as MagCacheConfig.

Which steps are computed follows from ratios and settings alone, not from the sample. Upstream's scripts differ in
three small things, all settings here and in conf/preset: the rounding of the warm-up, the comparison, and a protected
step for FLUX.

Differs from upstream: the Qwen-Image script leaks the error of one image into the next; here every run starts afresh.
For Qwen-Image and Wan, which call the denoiser twice a step, upstream counts calls, and computes the first int(2 n
share). Where that is odd (it is not for n = 50 and a share of 0.2), the conditional branch warms up for one step more
than the unconditional one. Here both do for int(n share): a step is computed or skipped as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from baselines.reuse import ReusesResidual, ReuseState
from meancache.protocols import Probe
from meancache.schedule import Step


@dataclass(frozen=True)
class MagCache(ReusesResidual):
    """Accumulate |1 - product of ratios| over skipped steps; compute when it passes the threshold.

    Args:
        threshold: largest accumulated error of a skipped step, >= 0.
        ratios: mean over tokens of the residual's norm over that of the step before, the first is 1. Fitted for one
            model: conf/preset. For another number of steps the nearest is taken, as upstream does.
        max_skips: most skipped steps in a row.
        warmup_share: share of the first steps that are always computed.
        rounds: the warm-up is rounded to the nearest step (FLUX, diffusers) and not down (the other scripts).
        strict: an error equal to the threshold computes (Qwen-Image, Wan).
        protected: a step that is always computed, as a position in ``ratios`` (FLUX: 11), or None.

    Raises:
        ValueError: a value out of range.
    """

    threshold: float
    ratios: Sequence[float]
    max_skips: int = 5
    warmup_share: float = 0.1
    rounds: bool = True
    strict: bool = False
    protected: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", tuple(self.ratios))
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be a number >= 0, got {self.threshold!r}")
        if not 0 <= self.warmup_share <= 1:
            raise ValueError(f"warmup_share must be between 0 and 1, got {self.warmup_share!r}")
        if not isinstance(self.max_skips, int) or self.max_skips < 0:
            raise ValueError(f"max_skips must be a whole number >= 0, got {self.max_skips!r}")
        if len(self.ratios) < 2 or not all(ratio > 0 for ratio in self.ratios):
            raise ValueError(f"ratios must be two or more positive numbers, got {list(self.ratios)}")

    @cache  # noqa: B019  (a method is made once a run and is frozen)
    def computed_steps(self, num_steps: int) -> frozenset[int]:
        """The steps that are computed in a run of ``num_steps``."""
        first = int(self.warmup_share * num_steps + 0.5 * self.rounds)
        computed, product, error, skips = set(), 1.0, 0.0, 0
        for index in range(num_steps):
            position = round(index * (len(self.ratios) - 1) / max(num_steps - 1, 1))
            if index >= max(first, 1) and position != self.protected:
                product, skips = product * self.ratios[position], skips + 1
                error += abs(1 - product)
                within = error < self.threshold if self.strict else error <= self.threshold
                if within and skips <= self.max_skips:
                    continue
            computed.add(index)
            product, error, skips = 1.0, 0.0, 0
        return frozenset(computed)

    def computes(self, step: Step, state: ReuseState, probe: Probe) -> bool:
        return step.index in self.computed_steps(step.num_steps)

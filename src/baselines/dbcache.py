"""DBCache: compare what the first blocks changed with the last computed call; skip the middle, run the last blocks.

There is no paper: it is cache-dit's method ("Dual Block Cache"), with an optional forecast of the skipped change by
TaylorSeer (arXiv 2503.06923), here of one residual and not of every module.
Upstream: vipshop/cache-dit, CachedContextManager.can_cache and the calibrator taylorseer.py.

A threshold >= 1 is no threshold but a switch: every step after the warm-up is skipped, unseen. The paper's rows
r = 1.5 and r = 1.5, O = 4 are of this kind: steps 0-7 computed, 42 skipped in a row.

Differs from upstream: state belongs to a guidance branch of the run, not to the parity of a call counter; no limit on
the accumulated change, no shared decision of both branches and no comparison of a sample of the channels. What is not
read later is not stored (the first blocks' change where the threshold decides nothing, text that meets no more blocks).

Quirks kept: the forecast has differences from the fourth step on, whatever was computed before (upstream's counter
begins at -1 and differences need more than 1); the latest gap divides differences of all orders. ``loose_streak``
counts skipped steps in a row as upstream did before 1.5.3: a computed step did not end the count unless the limit
itself had called for it, so a limit of 1 gave one skip, then runs of two.
"""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from baselines.reuse import magnitude, relative_l1
from baselines.taylor import extrapolated, updated
from meancache.protocols import Probe, ResidualMethod, Streams
from meancache.schedule import Schedule, Step

FIRST_DIFFERENCE = 3  # the step from which on upstream's calibrator takes differences


@dataclass
class _State:
    first: Tensor | None = None  # what the first blocks changed in the last computed call
    size: Tensor | None = None  # mean absolute value of it
    hidden: list[Tensor] = field(default_factory=list)  # what the middle changed, and its differences
    encoder: list[Tensor] = field(default_factory=list)
    computed: int = -1  # last computed step
    skipped: int = -1  # last skipped step
    num_skipped: int = 0
    streak: int = 0  # skipped steps in a row, as the limit counts them


@dataclass(frozen=True)
class DBCache(ResidualMethod):
    """Skip the middle blocks while the change made by the first ``fn`` is near that of the last computed call.

    Args:
        threshold: r; below this relative L1 change a step is skipped; >= 1 skips unseen, <= 0 never.
        fn: first blocks, which always run.
        bn: last blocks, which always run, also upon a predicted input.
        warmup: steps before this one are computed ...
        warmup_interval: ... every so many; those between follow the threshold.
        max_cached_steps: most skipped steps of a run; -1 for no limit.
        max_continuous_cached_steps: most skipped steps in a row; -1 for no limit.
        mask: one digit a step, 1 must be computed and 0 may be skipped; it also cuts the warm-up to its leading 1s.
        mask_policy: "dynamic": at a 0 the tests decide; "static": every 0 is skipped.
        taylor_order: O of the forecast; 0 puts back the residual as it was.
        fused: all block lists are one, as upstream does for FLUX; HunyuanVideo: false, each list decides for itself.
        loose_streak: count skipped steps in a row as cache-dit did before 1.5.3.

    Raises:
        ValueError: a value out of range.
    """

    sees_batch = True

    threshold: float
    fn: int = 2
    bn: int = 0
    warmup: int = 8
    warmup_interval: int = 1
    max_cached_steps: int = -1
    max_continuous_cached_steps: int = -1
    mask: str | None = None
    mask_policy: str = "dynamic"
    taylor_order: int = 0
    fused: bool = True
    loose_streak: bool = False

    def __post_init__(self) -> None:
        least = {"fn": 1, "bn": 0, "warmup": 0, "warmup_interval": 1, "taylor_order": 0}
        for name, bound in (least | {"max_cached_steps": -1, "max_continuous_cached_steps": -1}).items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < bound:
                raise ValueError(f"{name} must be a whole number >= {bound}, got {value!r}")
        if not isinstance(self.threshold, int | float) or self.threshold != self.threshold:
            raise ValueError(f"threshold must be a number, got {self.threshold!r}")
        if self.mask_policy not in ("dynamic", "static"):
            raise ValueError(f"mask_policy must be dynamic or static, got {self.mask_policy!r}")
        if self.mask is not None:
            object.__setattr__(self, "mask", str(self.mask))  # a command line makes a number of it
            if set(self.mask) - set("01") or not self.mask.startswith("1"):
                raise ValueError(f"mask must be digits 0 and 1, the first of them 1, got {self.mask!r}")

    @property
    def probe_depth(self) -> int:  # type: ignore[override]
        return self.fn

    @property
    def tail_depth(self) -> int:  # type: ignore[override]
        return self.bn

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError unless the mask has a digit for each step."""
        if self.mask is not None and len(self.mask) != schedule.num_steps:
            raise ValueError(f"the mask has {len(self.mask)} digits, but the run has {schedule.num_steps} steps")

    def new_state(self) -> Any:
        return _State()

    def warms_up(self, index: int) -> bool:
        """Whether a step is in the warm-up set."""
        end = self.warmup
        if self.mask is not None:
            end = min(end, len(self.mask) - len(self.mask.lstrip("1")))
        return index < end and index % self.warmup_interval == 0

    def computes(self, step: Step, state: _State, probe: Probe) -> bool:
        decided, first = self._decided(step.index, state), None
        if 0 < self.threshold < 1 and decided is not False:
            first = probe.here.hidden - probe.entry.hidden
        if decided is None:
            assert first is not None and state.first is not None
            decided = not relative_l1(first, state.first, state.size).item() < self.threshold
        if decided:
            state.first, state.size = first, None if first is None else magnitude(first)
        else:
            self._note_skip(step.index, state)
        return decided

    def _decided(self, index: int, state: _State) -> bool | None:
        """Whether a step is computed, as far as it is known without a look at the streams; upstream's order."""
        if self.warms_up(index):
            return True
        if self.mask is not None and (self.mask[index] == "1" or self.mask_policy == "static"):
            return self.mask[index] == "1"
        if 0 <= self.max_cached_steps <= state.num_skipped:
            return True
        if not self.loose_streak and state.skipped != index - 1:
            state.streak = 0
        if 0 <= self.max_continuous_cached_steps <= state.streak:
            state.streak = 0
            return True
        if self.threshold <= 0 or state.computed < 0:
            return True
        if self.threshold >= 1:
            return False
        return True if state.first is None else None

    def _note_skip(self, index: int, state: _State) -> None:
        follows = state.num_skipped > 0 and state.skipped == index - 1
        if not self.loose_streak:
            state.streak = state.streak + 1 if follows else 1
        elif state.num_skipped == 0:
            state.streak += 1
        elif follows:
            state.streak = 2 if state.streak == 0 else state.streak + 1
        state.skipped, state.num_skipped = index, state.num_skipped + 1

    def observe(self, step: Step, state: _State, probe: Probe, out: Streams) -> None:
        change, gap = out - probe.here, step.index - state.computed
        order = self.taylor_order if step.index >= FIRST_DIFFERENCE else 0
        state.hidden = updated(state.hidden, change.hidden, gap, order)
        if change.encoder is not None and (self.bn > 0 or not self.fused):  # else no block reads text after this
            state.encoder = updated(state.encoder, change.encoder, gap, order)
        state.computed = step.index

    def predict(self, step: Step, state: _State, probe: Probe) -> Streams:
        distance = step.index - state.computed
        encoder = extrapolated(state.encoder, distance) if state.encoder else None
        return probe.here.plus(Streams(extrapolated(state.hidden, distance), encoder))

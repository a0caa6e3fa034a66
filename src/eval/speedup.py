"""How much faster: a run and its reference timed in turns, A B A B, and the ratio of each pair.

A machine that others use changes its speed from minute to minute. Two calls that follow each other see nearly the same
machine, so the ratio within a pair says more than that of two medians taken at different times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Speedup:
    """Median of the paired ratios, an interval for it from ``low`` to ``high``, and the number of pairs."""

    median: float
    low: float
    high: float
    num_pairs: int

    def __str__(self) -> str:
        return f"{self.median:.2f}x [{self.low:.2f}, {self.high:.2f}]"


def speedup_of(reference: Sequence[float], run: Sequence[float]) -> Speedup:
    """The speed-up and its distribution-free interval: order statistics that hold the median in 95 % of all cases.

    Of fewer than six pairs no interval can promise that; theirs is from the smallest to the largest ratio.

    Args:
        reference: seconds of the reference run, one for each pair.
        run: seconds of the run, in the same order.

    Raises:
        ValueError: no pairs, or not as many of one as of the other.
    """
    if not run or len(run) != len(reference):
        raise ValueError(f"a speed-up needs pairs, got {len(reference)} and {len(run)} times")
    ratios = sorted(slow / fast for slow, fast in zip(reference, run))
    cut = _outside(len(ratios))
    return Speedup(median(ratios), ratios[cut], ratios[-1 - cut], len(ratios))


def _outside(count: int) -> int:
    """How many of so many sorted values may lie beyond each end of the interval."""
    cut, tail = 0, 0.5**count
    while 2 * (tail + comb(count, cut + 1) * 0.5**count) <= 1 - CONFIDENCE:
        cut += 1
        tail += comb(count, cut) * 0.5**count
    return cut


def median_seconds(seconds: Sequence[Mapping[str, float]], part: str) -> float | None:
    """Median of a part of the time, or None where nothing was timed."""
    return median(entry[part] for entry in seconds) if seconds else None

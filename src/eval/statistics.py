"""How sure a mean is: bootstrap intervals over prompts, paired differences, and the worst samples.

Samples of one prompt resemble each other, so the bootstrap draws prompts with all their seeds, not single samples. Two
runs are compared on the samples they share, difference by difference, which takes the prompts' own spread out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, isfinite, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 10_000
WORST = 0.05  # share of samples
FEWEST = 6  # prompts, below which no sign of a difference is sure: that all of five agree has a chance of 6 %

Scores = Mapping[str, float]  # by sample, "<prompt index>-<seed>"


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts, its 95 % interval from ``low`` to ``high``, and the number of prompts."""

    mean: float
    low: float
    high: float
    num_prompts: int

    @property
    def is_gain(self) -> bool:
        """Whether it is above zero by more than the noise."""
        return self.mean > 0 and self.excludes_zero

    @property
    def excludes_zero(self) -> bool:
        """Whether it is a difference that is not within the noise, by enough prompts to say so."""
        return self.num_prompts >= FEWEST and (self.low > 0 or self.high < 0)

    def __format__(self, spec: str) -> str:
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def estimate(scores: Scores) -> Estimate | None:
    """The mean of scores and its interval; None where fewer than two prompts have a finite score.

    Percentiles of the means of 10,000 draws of as many prompts, with replacement, always the same draws; widened about
    the mean for few prompts, see `_widening`.
    """
    totals, counts = _by_prompt(scores)
    if len(totals) < 2:
        return None
    draws = _draws(len(totals))
    means = totals[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    mean, factor = totals.sum() / counts.sum(), _widening(len(totals))
    low, high = mean - factor * (mean - low), mean + factor * (high - mean)
    return Estimate(float(mean), float(low), float(high), len(totals))


def _by_prompt(scores: Scores) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum and number of the finite scores of each prompt that has some. (prompts,) twice"""
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for sample, score in scores.items():
        if isfinite(score):
            by_prompt[sample.rsplit("-", 1)[0]].append(score)
    return np.array([sum(some) for some in by_prompt.values()]), np.array([len(some) for some in by_prompt.values()])


@lru_cache(maxsize=1)  # the rows of a table mostly have the same prompts
def _draws(count: int) -> NDArray[np.int64]:
    """Numbers of the prompts in each draw. (draws, prompts)"""
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))


def _widening(count: int) -> float:
    """By how much the percentile bootstrap of so many values is too narrow (Hesterberg, arXiv 1411.5279).

    It spreads by the deviation over n instead of n - 1, and knows normal quantiles instead of Student's: unwidened, of
    six prompts without any difference it is sure of one in 14 % of all cases, of 16 in 8 %, where 5 % are promised. The
    quantile of Student's distribution is expanded in the degrees of freedom (Abramowitz and Stegun, 26.7.5).
    """
    normal, free = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), count - 1
    powers = [normal**k for k in range(8)]
    student = (
        normal
        + (powers[3] + normal) / (4 * free)
        + (5 * powers[5] + 16 * powers[3] + 3 * normal) / (96 * free**2)
        + (3 * powers[7] + 19 * powers[5] + 17 * powers[3] - 15 * normal) / (384 * free**3)
    )
    return student / normal * sqrt(count / free)


def difference(scores: Scores, others: Scores) -> Estimate | None:
    """By how much the scores lie above others on the samples that both have; None where that cannot be said.

    A sample that either reproduces exactly, an infinite PSNR, is left out of both.
    """
    return estimate({name: scores[name] - others[name] for name in scores if _both_finite(name, scores, others)})


def advantage(scores: Scores, others: Scores, *, higher_is_better: bool) -> Estimate | None:
    """By how much the scores are better than others: their `difference` with more being better."""
    return difference(scores, others) if higher_is_better else difference(others, scores)


def worst(scores: Scores, *, higher_is_better: bool) -> float | None:
    """Mean of the worst 5 % of the finite scores, at least one; None where there is none."""
    values = sorted(score for score in scores.values() if isfinite(score))
    if not values:
        return None
    count = ceil(WORST * len(values))
    chosen = values[:count] if higher_is_better else values[-count:]
    return sum(chosen) / count


def winner(candidates: Sequence[Scores], *, higher_is_better: bool) -> int | None:
    """Index of the one that is better than every other by more than the noise; None if there is none.

    One that cannot be compared, or that reproduces more samples exactly, is not beaten.
    """
    sums = [_by_prompt(scores) for scores in candidates]
    if len(candidates) < 2 or any(len(totals) < 2 for totals, _ in sums):
        return None
    means = [totals.sum() / counts.sum() for totals, counts in sums]
    best = max(range(len(means)), key=lambda index: means[index] if higher_is_better else -means[index])
    others = [scores for index, scores in enumerate(candidates) if index != best]
    if any(_num_exact(scores) > _num_exact(candidates[best]) for scores in others):
        return None
    gaps = (advantage(candidates[best], scores, higher_is_better=higher_is_better) for scores in others)
    return best if all(gap is not None and gap.is_gain for gap in gaps) else None


def _num_exact(scores: Scores) -> int:
    return sum(not isfinite(score) for score in scores.values())


def _both_finite(name: str, scores: Scores, others: Scores) -> bool:
    return name in others and isfinite(scores[name]) and isfinite(others[name])

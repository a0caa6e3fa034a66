import math

import numpy as np
import pytest
from scipy import stats

from eval.statistics import _widening, difference, estimate, winner, worst


def named(values, seeds=1):
    return {f"{index // seeds:05d}-{index % seeds}": float(value) for index, value in enumerate(values)}


def test_the_interval_is_scipys_bootstrap_of_the_mean():
    values = np.random.default_rng(1).normal(40, 3, size=64)
    found = estimate(named(values))
    known = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(2)).confidence_interval
    assert found.mean == pytest.approx(values.mean())
    widened = [found.mean + _widening(64) * (end - found.mean) for end in (known.low, known.high)]
    assert (found.low, found.high) == pytest.approx(widened, abs=0.05)
    assert estimate(named(values)) == found


@pytest.mark.parametrize("count", [6, 16, 64])
def test_the_interval_holds_the_true_mean_in_about_95_of_100_cases(count):
    rng = np.random.default_rng(7)
    found = [estimate(named(rng.normal(0, 1, size=count))) for _ in range(600)]
    assert 0.92 <= np.mean([entry.low <= 0 <= entry.high for entry in found]) <= 0.98


@pytest.mark.parametrize("count", [6, 16, 64])
def test_few_prompts_are_widened_as_students_distribution_is(count):
    known = stats.t.ppf(0.975, count - 1) / stats.norm.ppf(0.975) * math.sqrt(count / (count - 1))
    assert _widening(count) == pytest.approx(known, rel=2e-3)


def test_seeds_of_a_prompt_are_no_new_prompts():
    values = np.random.default_rng(1).normal(size=32)
    alone, repeated = estimate(named(values)), estimate(named(np.repeat(values, 5), seeds=5))
    assert repeated.num_prompts == 32
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high))


def test_a_difference_is_taken_sample_by_sample():
    spread = np.random.default_rng(1).normal(40, 5, size=40)
    gap = difference(named(spread + 0.5), named(spread))
    assert (gap.mean, gap.low, gap.high) == pytest.approx((0.5, 0.5, 0.5)) and gap.excludes_zero
    assert difference(named([math.inf, 30, 31]), named([40, 29, math.inf])) is None


def test_five_prompts_are_too_few_to_be_sure():
    five, six = (difference(named([31] * count), named([30] * count)) for count in (5, 6))
    assert (five.low, five.excludes_zero, six.excludes_zero) == (1, False, True)


def test_what_cannot_be_said_is_none():
    assert estimate(named([3.0])) is None
    assert estimate({}) is None
    assert worst(named([math.inf]), higher_is_better=True) is None


def test_the_worst_are_the_lowest_or_the_highest():
    scores = named(range(40))
    assert worst(scores, higher_is_better=True) == 0.5
    assert worst(scores, higher_is_better=False) == 38.5
    assert worst(named([7, math.inf]), higher_is_better=True) == 7


def test_the_winner_beats_all_others():
    spread = np.random.default_rng(1).normal(40, 5, size=40)
    low, middle, high = named(spread), named(spread + 1), named(spread + 2)
    assert winner([low, high, middle], higher_is_better=True) == 1
    assert winner([low, high, middle], higher_is_better=False) == 0
    assert winner([high, low, high], higher_is_better=True) is None
    assert winner([high], higher_is_better=True) is None


def test_who_reproduces_more_samples_exactly_is_not_beaten():
    scores = [40.0 + index / 10 for index in range(8)]
    exact = named([math.inf] * 7 + [30.0])
    assert winner([named(scores), exact], higher_is_better=True) is None
    some = named([math.inf, *[score - 5 for score in scores[1:]]])
    assert winner([named(scores), some], higher_is_better=True) is None
    assert winner([some, named([score - 9 for score in scores])], higher_is_better=True) == 0

"""The planner against brute force, and its limits."""

from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meancache.plan import Plan
from meancache.planner import PlanRequest, minimax_path, plan_path, shortest_path
from meancache.schedule import Schedule
from meancache.stability import StabilityMap

SPANS = (1, 2, 3)


def random_map(num_steps: int, seed: int, num_samples: int = 2) -> StabilityMap:
    costs = torch.rand(
        num_samples, len(SPANS), num_steps + 1, num_steps + 1, generator=torch.Generator().manual_seed(seed)
    )
    for column, span in enumerate(SPANS[1:], start=1):
        costs[:, column, :span] = torch.inf
    uneven = np.linspace(1, 0, num_steps + 1) ** 1.7
    names = tuple(str(i) for i in range(num_samples))
    return StabilityMap("random", Schedule(uneven.tolist()), SPANS, names, costs)


def brute_force(stability: StabilityMap, request: PlanRequest) -> float:
    """Least sum of cost^gamma over all node sets and all spans."""
    costs, sigmas, end = stability.mean().numpy(), stability.schedule.sigmas, stability.schedule.num_steps
    best = np.inf
    for size in range(1, request.budget + 1):
        for inner in combinations(range(1, end), size - 1):
            path = [0, *inner, end]
            edges = list(pairwise(path))
            if request.max_gap and any(e - a > request.max_gap for a, e in edges):
                continue
            total = 0.0
            for a, e in edges:
                scale = abs(sigmas[e] - sigmas[a]) if request.cost == "displacement" else 1.0
                total += min(costs[SPANS.index(k), a, e] * scale for k in (1, *request.spans)) ** request.gamma
            best = min(best, total)
    return best


@settings(max_examples=150, deadline=None)
@given(
    num_steps=st.integers(1, 8),
    seed=st.integers(0, 10**6),
    budget=st.integers(1, 8),
    gamma=st.sampled_from([1, 1.5, 2, 4, 5]),
    spans=st.sampled_from([(), (2,), (3,), (2, 3)]),
    max_gap=st.sampled_from([None, 2, 3, 8]),
    cost=st.sampled_from(["velocity", "displacement"]),
)
def test_planner_equals_brute_force(num_steps, seed, budget, gamma, spans, max_gap, cost):
    stability = random_map(num_steps, seed)
    request = PlanRequest(min(budget, num_steps), gamma, spans, max_gap, cost)
    best = brute_force(stability, request)
    if best == np.inf:
        with pytest.raises(ValueError, match="do not reach over|no path has"):
            plan_path(stability, request)
        return
    plan = plan_path(stability, request)
    assert plan.cost == pytest.approx(best, rel=1e-9)
    assert plan.budget <= request.budget
    assert all(e - a <= (max_gap or num_steps) for a, e in zip(plan.nodes, (*plan.nodes[1:], num_steps)))
    assert set(plan.spans) <= {1, *spans}
    assert Plan.from_json(plan.to_json()) == plan


def test_all_budgets_of_fifty_steps_are_monotone():
    stability = random_map(50, 0)
    costs = [plan_path(stability, PlanRequest(budget, 1, (2, 3))).cost for budget in range(1, 51)]
    assert all(a >= b for a, b in pairwise(costs))


def test_a_plan_for_holding_has_no_spans():
    plan = plan_path(random_map(20, 1), PlanRequest(6, 4, (2, 3), rule="hold"))
    assert set(plan.spans) == {1}
    assert plan == plan_path(random_map(20, 1), PlanRequest(6, 4, (), rule="hold"))


def test_gamma_suppresses_peaks():
    """Two edges of 0.6 beat 1.0 + 0.1 once peaks count."""
    weights = np.full((4, 4), np.inf)
    weights[0, 1], weights[1, 3], weights[0, 2], weights[2, 3] = 1.0, 0.1, 0.6, 0.6
    assert shortest_path(weights, 2)[0] == [0, 1, 3]
    assert shortest_path(weights**4, 2)[0] == [0, 2, 3]


def test_among_equal_paths_the_budget_is_spent():
    assert len(shortest_path(np.zeros((6, 6)), 4)[0]) == 5


def test_scale_of_costs_does_not_matter_however_large_gamma_is():
    stability = random_map(20, 3)
    tiny = StabilityMap("random", stability.schedule, SPANS, stability.samples, stability.costs * 1e-6)
    request = PlanRequest(6, 60.0, (2, 3))
    assert plan_path(stability, request).nodes == plan_path(tiny, request).nodes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget must be a whole number >= 1, got 0"),
        ({"budget": 2.5}, "budget must be a whole number"),
        ({"budget": True}, "budget must be a whole number"),
        ({"budget": 3, "gamma": 0.5}, "gamma must be a number >= 1, got 0.5"),
        ({"budget": 3, "gamma": float("nan")}, "gamma must be"),
        ({"budget": 3, "spans": (1,)}, "spans must be whole numbers >= 2"),
        ({"budget": 3, "max_gap": 0}, "max_gap must be"),
        ({"budget": 3, "cost": "money"}, "cost must be one of velocity, displacement"),
        ({"budget": 3, "rule": "magic"}, "rule must be one of paper, release, hold"),
    ],
)
def test_bad_requests_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PlanRequest(**options)


def test_requests_the_map_cannot_serve_are_refused():
    with pytest.raises(ValueError, match="budget = 6 is more than the 5 steps"):
        plan_path(random_map(5, 0), PlanRequest(6, spans=()))
    with pytest.raises(ValueError, match=r"spans \[2, 5\] go beyond the stability map"):
        plan_path(random_map(5, 0), PlanRequest(3, spans=(2, 5)))


@settings(max_examples=60, deadline=None)
@given(num_steps=st.integers(1, 7), seed=st.integers(0, 10**6), budget=st.integers(1, 7))
def test_minimax_path_equals_brute_force(num_steps, seed, budget):
    weights = random_map(num_steps, seed).mean().numpy()[0]
    budget = min(budget, num_steps)
    path, worst = minimax_path(weights, budget)

    def key(inner: tuple[int, ...]) -> list[float]:
        costs = [weights[a, e] for a, e in pairwise([0, *inner, num_steps])]
        return sorted(costs, reverse=True) + [0.0] * (budget - len(costs))

    options = [inner for size in range(budget) for inner in combinations(range(1, num_steps), size)]
    assert key(tuple(path[1:-1])) == min(key(inner) for inner in options)
    assert worst == key(tuple(path[1:-1]))[0]


@pytest.mark.parametrize("gamma", [11.0, 60.0, 1000.0])
@settings(max_examples=40, deadline=None)
@given(num_steps=st.integers(1, 7), seed=st.integers(0, 10**6), budget=st.integers(1, 7), nearly=st.booleans())
def test_a_large_gamma_equals_brute_force_in_exact_arithmetic(gamma, num_steps, seed, budget, nearly):
    """Sums of powers that no float can hold; some costs are so near each other that many small ones outweigh a peak."""
    weights = random_map(num_steps, seed).mean().numpy()[0]
    weights = 1 - 1e-3 * weights if nearly else weights
    budget = min(budget, num_steps)
    path, _ = minimax_path(weights, budget, gamma)

    def total(inner: tuple[int, ...]) -> Fraction:
        edges = pairwise([0, *inner, num_steps])
        return sum((Fraction(float(weights[a, e])) ** int(gamma) for a, e in edges), Fraction())

    options = [inner for size in range(budget) for inner in combinations(range(1, num_steps), size)]
    assert total(tuple(path[1:-1])) == min(map(total, options))


def test_a_cost_that_no_float_holds_is_left_out():
    plan = plan_path(random_map(8, 3), PlanRequest(4, 1000.0, ()))
    assert plan.cost is None
    assert Plan.from_json(plan.to_json()) == plan
    assert plan_path(random_map(8, 3), PlanRequest(4, 20.0, ())).cost > 0


def test_the_largest_gamma_is_the_minimax_path():
    """With costs of different orders of magnitude a finite gamma is the limit already."""
    stability = random_map(8, 3)
    limit = plan_path(stability, PlanRequest(4, float("inf"), ()))
    assert plan_path(stability, PlanRequest(4, 400.0, ())).nodes == limit.nodes

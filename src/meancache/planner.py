"""Peak-suppressed shortest path under a budget: Eq. (15) of MeanCache, solved exactly.

Nodes are the points of the sigma grid, from the first step (t = T) to the end of the grid (t = 0); an edge leaves a
computed step and ends where the next one is. |path| <= B edges is B denoiser evaluations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from meancache.plan import RULES, Plan
from meancache.stability import StabilityMap

COSTS = ("velocity", "displacement")
LARGEST_SUMMED = 10  # gamma up to which powers are added up as they are


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is asked for.

    Args:
        budget: B, the most computed steps.
        gamma: peak-suppression exponent, >= 1; 1 is the ordinary shortest path, inf the lexicographic minimax path
            of LeMiCa: the largest cost as small as can be, then the second largest, and so on.
        spans: spans K the JVP may use besides the plain hold, each >= 2.
        max_gap: longest edge in steps, or None for no limit.
        cost: "velocity" is Eq. (13); "displacement" multiplies it by |s - t|, the error of the latents it causes.
        rule: velocity rule of the plan. Edges are priced by Eq. (13) whatever the rule ("release" has no published
            cost of its own), but for "hold" without spans, which it could not use.

    Raises:
        ValueError: a value out of range.
    """

    budget: int
    gamma: float = 4.0
    spans: tuple[int, ...] = (2, 3, 4, 5)
    max_gap: int | None = None
    cost: str = "velocity"
    rule: str = "release"

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", tuple(self.spans))
        if not _whole(self.budget) or self.budget < 1:
            raise ValueError(f"budget must be a whole number >= 1, got {self.budget!r}")
        if isinstance(self.gamma, bool) or not isinstance(self.gamma, int | float) or not self.gamma >= 1:
            raise ValueError(f"gamma must be a number >= 1, got {self.gamma!r}")
        if any(not _whole(span) or span < 2 for span in self.spans):
            raise ValueError(f"spans must be whole numbers >= 2 (the hold, K = 1, is always there), got {self.spans!r}")
        if self.max_gap is not None and (not _whole(self.max_gap) or self.max_gap < 1):
            raise ValueError(f"max_gap must be a whole number >= 1 or null, got {self.max_gap!r}")
        if self.cost not in COSTS:
            raise ValueError(f"cost must be one of {', '.join(COSTS)}, got {self.cost!r}")
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {self.rule!r}")

    def check(self, num_steps: int, max_span: int) -> None:
        """Raise ValueError unless a run of ``num_steps`` and a map with spans up to ``max_span`` can serve it."""
        if self.budget > num_steps:
            raise ValueError(f"budget = {self.budget} is more than the {num_steps} steps of the run")
        if max(self.spans, default=1) > max_span:
            raise ValueError(f"spans {list(self.spans)} go beyond the stability map, which is made up to {max_span}")
        if self.max_gap is not None and self.budget * self.max_gap < num_steps:
            raise ValueError(f"{self.budget} edges of at most {self.max_gap} steps do not reach over {num_steps} steps")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def shortest_path(weights: NDArray[np.float64], budget: int) -> tuple[list[int], float]:
    """Cheapest path 0 -> T with at most ``budget`` edges.

    Args:
        weights: (T + 1, T + 1) edge weights >= 0, infinite where there is no edge; only a < e is used.
        budget: most edges.

    Returns:
        Grid points of the path, both ends included, and its weight. Among equal paths one with most edges: the
        budget is there to be spent.

    Raises:
        ValueError: no path has so few edges.
    """
    size = len(weights)
    rising = np.where(np.triu(np.ones((size, size), dtype=bool), k=1), weights, np.inf)
    best = np.full(size, np.inf)  # best[e]: cheapest way to point e with exactly `edges` edges
    best[0] = 0.0
    parents, totals = [], [np.inf]
    for _ in range(min(budget, size - 1)):
        through = best[:, None] + rising
        parents.append(through.argmin(axis=0))
        best = through.min(axis=0)
        totals.append(best[-1])
    edges = max(range(len(totals)), key=lambda count: (-totals[count], count))
    if totals[edges] == np.inf:
        raise ValueError(f"no path has {budget} edges or fewer")
    return _walk_back(parents[:edges], size - 1), float(totals[edges])


def _walk_back(parents: Sequence[Sequence[int] | NDArray[np.int64]], end: int) -> list[int]:
    """The path to ``end``, from the best parent of every point at each number of edges."""
    path = [end]
    for parent in reversed(parents):
        path.append(int(parent[path[-1]]))
    return path[::-1]


def minimax_path(weights: NDArray[np.float64], budget: int, gamma: float = math.inf) -> tuple[list[int], float]:
    """Path 0 -> T with at most ``budget`` edges whose weights, sorted downwards, come first in lexicographic order.

    The limit of :func:`shortest_path` over weights to the power gamma for gamma to infinity; exact, since putting the
    same weight into two sorted lists of equal length keeps their order. With a finite gamma it is that path itself,
    by the logarithm of the sum: powers of a large gamma leave the range of a float, and what a sum of them absorbs is
    told apart by the lexicographic order. Arguments, errors and result as there, but that the second result is the
    largest weight.
    """
    size = len(weights)
    nowhere: tuple[float, ...] = (np.inf,)
    best: list[tuple[float, ...]] = [()] + [nowhere] * (size - 1)  # sorted downwards, of paths with `edges` edges
    parents: list[list[int]] = []
    totals = [nowhere]
    for _ in range(min(budget, size - 1)):
        reached, came_from = [nowhere] * size, [0] * size
        for end in range(1, size):
            for start in range(end):
                if best[start] == nowhere or weights[start, end] == np.inf:
                    continue
                candidate = tuple(sorted((*best[start], float(weights[start, end])), reverse=True))
                if reached[end] == nowhere or _rank(candidate, gamma) < _rank(reached[end], gamma):
                    reached[end], came_from[end] = candidate, start
        best = reached
        parents.append(came_from)
        totals.append(best[-1])
    longest = len(totals)
    padded = [(*total, *(0.0,) * (longest - len(total))) for total in totals]
    edges = min(range(longest), key=lambda count: (_rank(padded[count], gamma), -count))
    if totals[edges] == nowhere:
        raise ValueError(f"no path has {budget} edges or fewer")
    return _walk_back(parents[:edges], size - 1), totals[edges][0]


def _rank(weights: tuple[float, ...], gamma: float) -> tuple[float, ...]:
    """What paths are ordered by, of weights sorted downwards: log sum weight^gamma, then the weights themselves."""
    if gamma == math.inf or weights[0] in (0.0, math.inf):
        return weights[:1] * (gamma != math.inf) + weights
    powers = sum((weight / weights[0]) ** gamma for weight in weights)
    return (gamma * math.log(weights[0]) + math.log(powers), *weights)


def plan_path(stability: StabilityMap, request: PlanRequest) -> Plan:
    """The plan of least sum of cost^gamma, Eq. (15), or of least largest cost.

    Raises:
        ValueError: the request does not fit the map, or no path keeps both limits.
    """
    schedule = stability.schedule
    request.check(schedule.num_steps, max(stability.spans))
    spans = (1,) if request.rule == "hold" else (1, *sorted(set(request.spans)))
    costs, choice = cheapest_span(stability, spans)
    sigmas = np.asarray(schedule.sigmas)
    duration = np.abs(sigmas[None, :] - sigmas[:, None])
    length = np.arange(len(sigmas))[None, :] - np.arange(len(sigmas))[:, None]
    if request.cost == "displacement":
        costs = np.multiply(costs, duration, out=np.full_like(costs, np.inf), where=np.isfinite(costs))
    if request.max_gap is not None:
        costs = np.where(length <= request.max_gap, costs, np.inf)
    path, total = _best_path(costs, request)
    return Plan(
        model=stability.model,
        schedule=schedule,
        nodes=tuple(path[:-1]),
        spans=tuple(spans[choice[a, e]] for a, e in pairwise(path)),
        rule=request.rule,
        gamma=float(request.gamma),
        cost_kind=request.cost,
        cost=total,
        source=f"stability map {stability.digest} of {len(stability.samples)} samples",
    )


def _best_path(costs: NDArray[np.float64], request: PlanRequest) -> tuple[list[int], float | None]:
    """The path and its sum of cost^gamma, for gamma = inf its largest cost; None where that is no float above 0."""
    if request.gamma == np.inf:
        return minimax_path(costs, request.budget)
    scale = max(costs[np.isfinite(costs)].max(initial=0.0), np.finfo(float).tiny)  # the best path does not depend on it
    if request.gamma <= LARGEST_SUMMED:
        path, total = shortest_path((costs / scale) ** request.gamma, request.budget)
        return path, total * scale**request.gamma
    path, largest = minimax_path(costs, request.budget, request.gamma)
    with np.errstate(over="ignore", under="ignore"):
        total = float(sum(costs[a, e] ** request.gamma for a, e in pairwise(path)))
    return path, total if largest == 0 or 0 < total < np.inf else None


def cheapest_span(stability: StabilityMap, spans: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The multigraph's parallel edges reduced to the cheapest: cost and position in ``spans`` of every edge."""
    costs = stability.mean().numpy()[[stability.spans.index(span) for span in spans]]
    return costs.min(axis=0), costs.argmin(axis=0)

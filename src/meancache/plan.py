"""A plan: which steps run the denoiser, and how far the JVP of each edge looks back."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from meancache.artifacts import write_atomic
from meancache.schedule import Schedule

RULES = ("paper", "release", "hold")


@dataclass(frozen=True)
class Plan:
    """A path through the multigraph of MeanCache, section 2.4, bound to one sigma grid.

    Attributes:
        model: name of the model it was made for.
        schedule: the sigma grid; the plan is meaningless on another one. None where nobody has said it, as in plans
            that the authors released: such a plan takes the grid of the run, whatever its resolution.
        nodes: computed step indices, rising, the first is 0.
        spans: span K of the edge that leaves each node; 0 or 1 is a plain hold. The edge of the last node ends at
            the end of the grid. Same length as ``nodes``.
        rule: velocity rule the spans are meant for, see :mod:`meancache.method`. They count differently: "paper"
            looks K steps back from the node, so K <= node; "release" counts the node's own step too; "hold" needs none.
        gamma: peak-suppression exponent it was made with, Eq. (15).
        cost_kind: what an edge cost, "velocity" (Eq. 13) or "displacement".
        cost: its path cost, the sum of edge costs to the power gamma; for gamma = inf the largest edge cost. None where
            it is unknown, or a gamma of hundreds makes it too small or large for a float.
        source: where it comes from, e.g. the hash of the stability map.

    Raises:
        ValueError: nodes or spans that are no path on this grid, an unknown rule, or a span it does not allow.
    """

    model: str
    schedule: Schedule | None
    nodes: tuple[int, ...]
    spans: tuple[int, ...]
    rule: str = "release"
    gamma: float | None = None
    cost_kind: str = ""
    cost: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not all(isinstance(number, int) for number in (*self.nodes, *self.spans)):
            raise ValueError("nodes and spans must be whole numbers")
        if not self.nodes or self.nodes[0] != 0:
            raise ValueError(f"a plan computes step 0 first, got nodes {list(self.nodes)}")
        if any(a >= b for a, b in pairwise(self.nodes)) or self.nodes[-1] >= self.num_steps:
            raise ValueError(f"nodes must rise and stay below num_steps = {self.num_steps}, got {list(self.nodes)}")
        if len(self.spans) != len(self.nodes) or any(span < 0 for span in self.spans):
            raise ValueError(f"a plan has one span >= 0 for each of its {len(self.nodes)} nodes, got {self.spans}")
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {self.rule!r}")
        if self.rule == "paper":
            self._check_paper()

    def _check_paper(self) -> None:
        if self.schedule is None:
            raise ValueError('rule "paper" needs the sigma grid of its plan, and this one has none')
        for node, span in zip(self.nodes, self.spans):
            if span > max(node, 1):
                raise ValueError(
                    f"the span K = {span} at step {node} reaches before step 0; Eq. (9) needs K <= {node}. "
                    'Plans of the authors\' scripts count K by one more: they are for rule "release"'
                )

    @classmethod
    def released(cls, plans: Mapping[str, Mapping[str, Sequence[int]]], budget: int, model: str) -> "Plan":
        """One of the plans that the authors' scripts hold for a model, without a grid; the last node is the last step.

        Args:
            plans: ``nodes``, and ``orders`` of the edges between them, by budget.
            budget: computed steps.
            model: name of the model.

        Raises:
            ValueError: there is none with this budget, or it is no such plan.
        """
        if str(budget) not in plans:
            raise ValueError(f"there is no released plan with budget {budget}, only with {', '.join(plans)}")
        nodes, orders = (tuple(plans[str(budget)][key]) for key in ("nodes", "orders"))
        if len(orders) != len(nodes) - 1:
            raise ValueError(f"{len(nodes)} nodes have {len(nodes) - 1} edges between them, got {list(orders)}")
        for (start, end), order in zip(pairwise(nodes), orders):
            if order == 0 and end > start + 1:
                raise ValueError(f"the edge from step {start} to {end} needs an order >= 1, got {order}")
        return cls(model, None, nodes, (*orders, 1), source=f"released by the authors, B={budget}")

    @property
    def num_steps(self) -> int:
        """Steps of the run it is for; without a grid it ends with its last node."""
        return self.nodes[-1] + 1 if self.schedule is None else self.schedule.num_steps

    @property
    def budget(self) -> int:
        """Number of computed steps, B."""
        return len(self.nodes)

    def edge(self, index: int) -> int:
        """Position of the edge that solver step ``index`` lies on."""
        return bisect_right(self.nodes, index) - 1

    def computes(self, index: int) -> bool:
        return self.nodes[self.edge(index)] == index

    def span(self, index: int) -> int:
        """Span K in force at solver step ``index``."""
        return self.spans[self.edge(index)]

    def edge_end(self, index: int) -> int:
        """Grid index at which the edge of solver step ``index`` ends: the next node, or the end of the grid."""
        edge = self.edge(index)
        return self.nodes[edge + 1] if edge + 1 < len(self.nodes) else self.num_steps

    def live_spans(self) -> tuple[int, ...]:
        """The spans that correct anything with rule "paper", 1 in place of the others.

        Looking back from a node over nothing but one held velocity, the JVP of Eq. (9) is exactly zero. It is not if
        another node lies in between, or if the span starts at a node whose own edge was corrected.
        """
        live: list[int] = []
        for edge, (node, span) in enumerate(zip(self.nodes, self.spans)):
            before = self.nodes[edge - 1] if edge else 0
            start = node - span
            sees_change = before > start or (before == start and live[-1] > 1)
            longer = (*self.nodes, self.num_steps)[edge + 1] > node + 1
            live.append(span if span > 1 and longer and sees_change else 1)
        return tuple(live)

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError unless ``schedule`` is the grid of this plan, or as long where it has none."""
        if self.schedule is None and schedule.num_steps != self.num_steps:
            raise ValueError(
                f"this plan is for {self.num_steps} steps, but the run has {schedule.num_steps}; plan for them with "
                "method=meancache"
            )
        if self.schedule is None or self.schedule.matches(schedule):
            return
        raise ValueError(
            f"this plan was made for {_describe(self.schedule)}, but the run uses {_describe(schedule)}; "
            "plan again for this grid (same num_steps, resolution and shift): run the calibrate and plan stages with "
            "the settings of this run"
        )

    def to_json(self) -> str:
        content = asdict(self) | {"sigmas": self.schedule and list(self.schedule.sigmas), "budget": self.budget}
        del content["schedule"]
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan of a JSON object; ``spans`` were called ``orders`` once."""
        content = json.loads(text)
        sigmas, spans = content.pop("sigmas"), content.pop("orders", None) or content.pop("spans")
        content.pop("budget")
        nodes = tuple(content.pop("nodes"))
        return cls(**content, schedule=None if sigmas is None else Schedule(sigmas), nodes=nodes, spans=tuple(spans))

    def save(self, path: str | Path) -> None:
        """Write a plan.json, whole or not at all."""
        write_atomic(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "Plan":
        """Read a plan.json.

        Raises:
            ValueError: no such file, or not a plan.
        """
        try:
            return cls.from_json(Path(path).read_text())
        except (OSError, LookupError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"no plan can be read from {path}: {type(error).__name__}: {error}") from error


def _describe(schedule: Schedule) -> str:
    middle = schedule.sigmas[schedule.num_steps // 2]
    return f"{schedule.num_steps} steps (sigma {schedule.sigmas[0]:.4f} ... {middle:.4f} ... {schedule.sigmas[-1]:.4f})"

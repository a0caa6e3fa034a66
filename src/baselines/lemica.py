"""LeMiCa: reuse the residual on a schedule fixed beforehand, planned so that the worst gap is as good as can be.

Paper: "LeMiCa: Lexicographic Minimax Path Caching for Efficient Diffusion-Based Video Generation", arXiv 2511.00090.
Upstream: UnicomAI/LeMiCa (inference scripts with hard-coded step lists; the planner is not released).

The planner is ours: `PlanRequest(gamma=inf)` minimises the largest edge cost, then the second largest, and so on. It
differs from the paper in the weights: theirs is the error of the final latents when one segment is cached, replayed for
every edge; ours are the hold costs of the stability map, Eq. (13) of MeanCache, which one full run gives for all edges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from baselines.reuse import ReusesResidual, ReuseState
from meancache.plan import Plan
from meancache.protocols import Probe
from meancache.schedule import Schedule, Step


@dataclass(frozen=True)
class LeMiCa(ReusesResidual):
    """Compute the steps of a list, reuse the last residual at all others.

    Args:
        steps: computed steps, rising from 0.
        num_steps: length of the run the list was made for; it is meaningless for another.
        plan: the plan the list is from, if our planner made it.

    Raises:
        ValueError: not a rising list from 0, or one that reaches beyond the run.
    """

    steps: Sequence[int]
    num_steps: int = 50
    plan: Plan | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:]))
        if not self.steps or self.steps[0] != 0 or not rising or self.steps[-1] >= self.num_steps:
            raise ValueError(f"steps must rise from 0 and stay below {self.num_steps}, got {list(self.steps)}")

    @classmethod
    def follow(cls, plan: Plan) -> "LeMiCa":
        """The method that computes a plan's nodes."""
        return cls(plan.nodes, plan.num_steps, plan)

    @classmethod
    def released(cls, lists: Mapping[str, Sequence[int]], budget: int) -> "LeMiCa":
        """The method with one of upstream's lists for 50 steps, named by their length."""
        if str(budget) not in lists:
            raise ValueError(f"there is no released list with budget {budget}, only with {', '.join(lists)}")
        return cls(lists[str(budget)])

    def check(self, schedule: Schedule) -> None:
        if self.plan is not None:
            self.plan.check(schedule)
        elif schedule.num_steps != self.num_steps:
            raise ValueError(f"this step list is for {self.num_steps} steps, but the run has {schedule.num_steps}")

    def computes(self, step: Step, state: ReuseState, probe: Probe) -> bool:
        return self.num_steps - step.num_steps + step.index in self.steps  # img2img begins inside the list

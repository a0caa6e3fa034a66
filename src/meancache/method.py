"""MeanCache, and the reference run that every method is measured against.

Paper: "MeanCache: From Instantaneous to Average Velocity for Accelerating Flow Matching Inference", section 2.
Upstream: UnicomAI/MeanCache (inference scripts with fixed plans for Qwen-Image and Z-Image).

Three velocity rules share one plan:

* ``paper``: one average velocity per edge, Eq. (11). It already replaces the velocity of the computed step, so the
  run moves over the whole edge t -> s with u_hat(z_t, t, s).
* ``release``: the stepwise rule of the authors' scripts. The computed step moves with its own velocity; each skipped
  step adds JVP * dsigma to the velocity before it, the JVP taken over the last K steps, skipped ones included.
  Unlike the scripts, K <= 1 is an exact hold: they form 0 from bfloat16 differences and add the rounding error back.
* ``hold``: the last computed velocity is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from meancache.plan import Plan
from meancache.schedule import Schedule, Step
from meancache.trajectory import Trajectory
from meancache.velocity import jvp, mean_velocity


@dataclass(frozen=True)
class Full:
    """Every step computed: the reference run."""

    history: int = 0
    num_steps: int | None = None

    def check(self, schedule: Schedule) -> None:
        pass

    def computes(self, step: Step) -> bool:
        return True

    def velocity(self, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
        assert computed is not None
        return computed


def _paper(plan: Plan, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
    if computed is None:
        return trajectory[-1].applied
    order, end = plan.order(step.index), plan.edge_end(step.index)
    if order <= 1 or end == step.index + 1:  # over a single step the average velocity is the computed one
        return computed
    earlier = trajectory[step.index - order]
    estimate = jvp(latents, earlier.latents, earlier.velocity, step.sigma, earlier.sigma)
    return mean_velocity(computed, estimate, step.sigma, plan.schedule.sigmas[end])


def _release(plan: Plan, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
    if computed is not None:
        return computed
    previous, order = trajectory[-1], plan.order(step.index)
    if order <= 1:
        return previous.velocity
    earlier = trajectory[step.index - min(order, step.index)]
    estimate = jvp(latents, earlier.latents, earlier.velocity, step.sigma, earlier.sigma)
    return mean_velocity(previous.velocity, estimate, step.sigma, step.sigma_next)


def _hold(plan: Plan, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
    return computed if computed is not None else trajectory[-1].velocity


RULES: dict[str, Callable[[Plan, Step, Tensor, Tensor | None, Trajectory], Tensor]] = {
    "paper": _paper,
    "release": _release,
    "hold": _hold,
}


@dataclass(frozen=True)
class MeanCache:
    """Follow a plan, with average velocities over the steps it skips.

    Args:
        plan: computed steps and JVP spans, bound to a sigma grid.
        rule: "paper", "release" or "hold".

    Raises:
        ValueError: unknown rule, or with ``rule="paper"`` a span that reaches before step 0.
    """

    plan: Plan
    rule: str = "paper"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {self.rule!r}")
        if self.rule != "paper":
            return
        for node, order in zip(self.plan.nodes, self.plan.orders):
            if order > max(node, 1):
                raise ValueError(
                    f"the span K = {order} at step {node} reaches before step 0; Eq. (9) needs K <= {node}. "
                    "Plans of the authors' scripts count K by one more: run them with rule=release"
                )

    @property
    def history(self) -> int:
        return max(1, *self.plan.orders)

    @property
    def num_steps(self) -> int:
        return self.plan.schedule.num_steps

    def check(self, schedule: Schedule) -> None:
        self.plan.check(schedule)

    def computes(self, step: Step) -> bool:
        return self.plan.computes(step.index)

    def velocity(self, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
        return RULES[self.rule](self.plan, step, latents, computed, trajectory)

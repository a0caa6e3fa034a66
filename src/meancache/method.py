"""MeanCache, and the reference run that every method is measured against.

Paper: "MeanCache: From Instantaneous to Average Velocity for Accelerating Flow Matching Inference", section 2.
Upstream: UnicomAI/MeanCache (inference scripts with fixed plans for Qwen-Image and Z-Image).

A plan names its velocity rule:

* ``paper``: one average velocity per edge, Eq. (11). It already replaces the velocity of the computed step, so the
  run moves over the whole edge t -> s with u_hat(z_t, t, s).
* ``release``: the stepwise rule of the authors' scripts. The computed step moves with its own velocity; each skipped
  step adds JVP * dsigma to the velocity before it, the JVP taken over the last K steps, skipped ones included.
  Unlike the scripts, K <= 1 is an exact hold: they form 0 from bfloat16 differences and add the rounding error back.
* ``hold``: the last computed velocity is kept.

What Eq. (9) can see: over steps that were skipped with one held velocity, displacement over time *is* that velocity,
so the JVP is zero and ``paper`` falls back to a hold. It corrects only where another computed step lies within
the span, or at its start after an edge that was corrected itself. The stability map, made on full runs, does not know
this: plans buy spans that the run cannot always use. `Plan.live_spans` says which ones it can.
"""

from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor

from meancache.plan import Plan
from meancache.protocols import VelocityMethod
from meancache.schedule import Schedule, Step
from meancache.trajectory import Trajectory
from meancache.velocity import average_of_steps, average_velocity, jvp, mean_velocity

_READ = {"paper": ("velocity", "applied"), "release": ("latents", "velocity"), "hold": ("velocity",)}  # by rule


@dataclass(frozen=True)
class Full(VelocityMethod):
    """Every step computed: the reference run."""

    @property
    def history(self) -> int:
        return 0

    def computes(self, step: Step) -> bool:
        return True

    def velocity(self, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
        assert computed is not None
        return computed


@dataclass(frozen=True)
class MeanCache(VelocityMethod):
    """Follow a plan, with average velocities over the steps it skips, by the plan's rule.

    Args:
        plan: which steps are computed, and how far each JVP looks back.
        exact_hold: K = 1 keeps the velocity as it is. False, with rule ``release``: it goes through the JVP as in the
            authors' scripts, where that is zero but for rounding; in bfloat16 the rounding is added to the velocity.
    """

    plan: Plan
    exact_hold: bool = True

    @property
    def history(self) -> int:
        return 1 if self.plan.rule == "hold" else max(1, *self.plan.spans)

    def reads(self, step: Step, computed: bool) -> Collection[str]:
        return _READ[self.plan.rule]

    def check(self, schedule: Schedule) -> None:
        self.plan.check(schedule)

    def computes(self, step: Step) -> bool:
        return self.plan.computes(self._index(step))

    def velocity(self, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
        if self.plan.rule == "paper":
            return trajectory[-1].applied if computed is None else self._over_edge(step, computed, trajectory)
        if computed is not None:
            return computed
        span = self.plan.span(self._index(step))
        if self.plan.rule == "hold" or span < 1 or (span == 1 and self.exact_hold):
            return trajectory[-1].velocity
        return next_velocity(step, span, latents, trajectory)

    def _index(self, step: Step) -> int:
        """The step of the plan's grid that a step is: both end together, a run may begin inside the grid (img2img)."""
        return self.plan.num_steps - step.num_steps + step.index

    def _over_edge(self, step: Step, v_t: Tensor, trajectory: Trajectory) -> Tensor:
        """Rule ``paper``: the average velocity of the edge that starts at this computed step, Eq. (11)."""
        index = self._index(step)
        span, end = min(self.plan.span(index), len(trajectory)), self.plan.edge_end(index)
        if span <= 1 or end == index + 1:  # over a single step the average velocity is the computed one
            return v_t
        passed = [trajectory[index] for index in range(step.index - span, step.index)]
        assert self.plan.schedule is not None
        r, t, s = passed[0].sigma, step.sigma, self.plan.schedule.sigmas[end]
        u_r = average_of_steps([entry.applied for entry in passed], [*(entry.sigma for entry in passed), t])
        return mean_velocity(v_t, jvp(u_r, passed[0].velocity, t, r), t, s)


def next_velocity(step: Step, span: int, latents: Tensor, trajectory: Trajectory) -> Tensor:
    """Rule ``release``: the velocity before this skipped step plus JVP * dsigma, JVP over the last K steps.

    The displacement is that of the latents, as in the scripts, with their rounding in bfloat16.

    Args:
        step: a skipped step.
        span: K; the run's first steps have fewer behind them.
        latents: z at ``step.sigma``. (B, ...)
        trajectory: the last K steps, or all of the run's.
    """
    first = trajectory[step.index - min(span, len(trajectory))]
    u_r = average_velocity(first.latents, latents, first.sigma, step.sigma)
    estimate = jvp(u_r, first.velocity, step.sigma, first.sigma)
    return mean_velocity(trajectory[-1].velocity, estimate, step.sigma, step.sigma_next)

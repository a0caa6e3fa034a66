"""MeanCache with the plans that its authors released, for Qwen-Image, Qwen-Image-2512 and Z-Image.

Paper: as :mod:`meancache.method`, whose rule "release" this is. Upstream: UnicomAI/MeanCache, inference scripts. The
plans themselves are facts and stand in ``conf/preset/<model>-meancache_released.yaml``.

They list steps and spans for 50 steps, and no sigmas. So they cannot say which grid they are for, as a `Plan` does:
they take the one of the run, whatever its resolution. The scripts draw Qwen-Image at 1664x928, Z-Image at 720x1280.

Where we differ: K = 1 is an exact hold. The scripts send it through the JVP all the same, where it is zero but for
rounding; in bfloat16, which Qwen-Image's latents have, that is rounding over a short step, and it is added to the
velocity. ``exact_hold=False`` does as they do, to the bit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from meancache.method import next_velocity
from meancache.protocols import VelocityMethod
from meancache.schedule import Schedule, Step
from meancache.trajectory import Trajectory


@dataclass(frozen=True)
class ReleasedMeanCache(VelocityMethod):
    """Follow a plan of the authors' scripts.

    Args:
        nodes: computed steps, rising from the first step of the run to the last.
        orders: span K of the edge between each node and the next; of no effect where no step lies between them.
        num_steps: length of the run the plan was made for; it is meaningless for another.
        exact_hold: K = 1 keeps the velocity as it is.

    Raises:
        ValueError: nodes or orders that are no such plan.
    """

    nodes: Sequence[int]
    orders: Sequence[int]
    num_steps: int = 50
    exact_hold: bool = True

    def __post_init__(self) -> None:
        for name in ("nodes", "orders"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        last = self.num_steps - 1
        rising = all(a < b for a, b in zip(self.nodes, self.nodes[1:]))
        if not rising or len(self.nodes) < 2 or (self.nodes[0], self.nodes[-1]) != (0, last):
            raise ValueError(f"nodes must rise from 0 to {last}, got {list(self.nodes)}")
        if len(self.orders) != len(self.nodes) - 1:
            raise ValueError(f"{len(self.nodes)} nodes have {len(self.nodes) - 1} orders, got {list(self.orders)}")
        for a, e, order in zip(self.nodes, self.nodes[1:], self.orders):
            if order < 0 or (order == 0 and e > a + 1):
                raise ValueError(f"the edge from step {a} to {e} needs an order >= 1, got {order}")

    @classmethod
    def choose(
        cls, plans: Mapping[str, Mapping[str, Sequence[int]]], budget: int, *, exact_hold: bool = True
    ) -> "ReleasedMeanCache":
        """The plan with so many computed steps, of those released for a model.

        Args:
            plans: ``nodes`` and ``orders`` by budget.
            budget: computed steps.
            exact_hold: as above.

        Raises:
            ValueError: there is none.
        """
        if str(budget) not in plans:
            raise ValueError(f"there is no released plan with budget {budget}, only with {', '.join(plans)}")
        plan = plans[str(budget)]
        return cls(plan["nodes"], plan["orders"], exact_hold=exact_hold)

    @property
    def history(self) -> int:
        return max(1, *self.orders)

    def reads(self, step: Step, computed: bool) -> Collection[str]:
        return ("latents", "velocity")

    def check(self, schedule: Schedule) -> None:
        if schedule.num_steps != self.num_steps:
            raise ValueError(
                f"this plan was released for {self.num_steps} steps, but the run has {schedule.num_steps}; plan for "
                "them with method=meancache"
            )

    def computes(self, step: Step) -> bool:
        return self._index(step) in self.nodes

    def velocity(self, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
        if computed is not None:
            return computed
        order = next(order for end, order in zip(self.nodes[1:], self.orders) if self._index(step) < end)
        if order == 1 and self.exact_hold:
            return trajectory[-1].velocity
        return next_velocity(step, order, latents, trajectory)

    def _index(self, step: Step) -> int:
        return self.num_steps - step.num_steps + step.index

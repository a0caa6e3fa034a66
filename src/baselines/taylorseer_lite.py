"""TaylorSeer-Lite: extrapolate the velocity itself over the steps between computed ones.

Paper: "From Reusing to Forecasting: Accelerating Diffusion Models with TaylorSeers", arXiv 2503.06923.
Upstream: none in Shenyi-Z/TaylorSeer; the name is that of ``use_lite_mode`` in diffusers' TaylorSeerCacheConfig.

Differs from diffusers: that predicts the output of each guidance branch and guides the predictions, and still runs
embedders and output layer; here the *guided* velocity is predicted and the denoiser does not run at all. The two agree
where guidance is linear, but not under Qwen-Image's norm rescale. Computed steps and orders are those of the official
TaylorSeer, not of diffusers, whose steps are off by one; the table is formed in float32, theirs in bfloat16.
"""

from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor

from baselines.interval import Forecast
from baselines.taylor import extrapolated, updated
from meancache.protocols import VelocityMethod
from meancache.schedule import Step
from meancache.trajectory import Trajectory


@dataclass(frozen=True)
class TaylorSeerLite(Forecast, VelocityMethod):
    """Predict the guided velocity by the Taylor polynomial of its last computed steps, in step units.

    Settings: see `Forecast`.
    """

    @property
    def history(self) -> int:
        """Enough steps to hold the ``order + 1`` computed ones before any skipped step."""
        return (self.order + 1) * self.interval - 1

    def reads(self, step: Step, computed: bool) -> Collection[str]:
        return ("velocity",) if computed and self.is_read(step) else ()

    def computes(self, step: Step) -> bool:
        return self.since_full(step.index) == 0

    def velocity(self, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
        if computed is not None:
            return computed
        kept = [trajectory[index] for index in range(step.index - len(trajectory), step.index)]
        nodes = [entry for entry in kept if entry.computed and entry.velocity.numel()][-(self.order + 1) :]
        factors: list[Tensor] = []
        for node, before in zip(nodes, [nodes[0], *nodes]):
            gap = node.index - before.index
            factors = updated(factors, node.velocity.float(), gap, self.order_at(node.index))
        return extrapolated(factors, step.index - nodes[-1].index).to(nodes[-1].velocity.dtype)

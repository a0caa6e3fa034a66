"""TaylorSeer: extrapolate the outputs of attention and MLPs over the steps between full ones.

Paper: "From Reusing to Forecasting: Accelerating Diffusion Models with TaylorSeers", arXiv 2503.06923.
Upstream: Shenyi-Z/TaylorSeer (FLUX, HunyuanVideo, Wan2.1, ...).

Features are module outputs before their gates: at a predicted step the modulation of every block is fresh, as are
embedders and output layer. Of a fused single-stream block only the output projection is predicted, and neither its
attention nor its MLP runs. As upstream, a table is in the dtype of its feature and in step units, not in sigma.
``order=0`` keeps the last output: plain reuse, as FORA's on the same steps.

Differs from upstream: nothing is kept of attention in fused blocks, which upstream never reads (a third of its memory
on HunyuanVideo), nor of warm-up steps that no difference is taken from; guidance branches have tables of their own,
also where they are separate calls; the tables belong to the run, and families without an upstream script (Qwen-Image,
Z-Image) work through the same kinds.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from baselines.interval import Forecast
from baselines.taylor import extrapolated, updated
from meancache.protocols import Feature, FeatureMethod
from meancache.schedule import Step

_READ = frozenset(
    {"attention", "second_attention", "cross_attention", "mlp", "context_mlp", "fused_out", "fused_block"}
)
_UNREAD = frozenset({"fused_attention", "fused_mlp_in"})  # all they lead to is the predicted output of their block


@dataclass
class _Tables:
    """Of one block: by module, a table for each tensor of its output."""

    by_module: dict[str, list[list[Tensor]]] = field(default_factory=dict)


@dataclass(frozen=True)
class TaylorSeer(Forecast, FeatureMethod):
    """Predict every module's output by the Taylor polynomial of its last full steps. Settings: see `Forecast`."""

    @property
    def kinds(self) -> Collection[str]:
        return _READ | _UNREAD

    def new_features(self, seed: int, branch: Any) -> Any:
        return _Tables()

    def full(self, step: Step, branch: Any) -> bool:
        return self.since_full(step.index) == 0

    def keep(self, step: Step, feature: Feature, state: _Tables, output: Any) -> None:
        if feature.kind in _UNREAD or not self.is_read(step):
            return
        parts = output if isinstance(output, tuple) else (output,)
        before = state.by_module.get(feature.module, [[]] * len(parts))
        order = self.order_at(step.index)
        state.by_module[feature.module] = [
            updated(table, part, self.gap(step.index), order) for table, part in zip(before, parts)
        ]

    def recall(self, step: Step, feature: Feature, state: _Tables, compute: Callable[[Tensor], Any], x: Tensor) -> Any:
        if feature.kind in _UNREAD:
            return None
        parts = [extrapolated(table, self.since_full(step.index)) for table in state.by_module[feature.module]]
        return parts[0] if len(parts) == 1 else tuple(parts)

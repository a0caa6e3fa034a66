"""ToCa: between full steps keep every attention output and refresh the MLPs of a few tokens.

Paper: "Accelerating Diffusion Transformers with Token-wise Feature Caching", arXiv 2410.05317.
Upstream: Shenyi-Z/ToCa (FLUX, ...); HunyuanVideo is in Shenyi-Z/TaylorSeer, which carries ToCa as a baseline.

At a ToCa step all modulations are fresh and attention never runs. In a double-stream block each stream chooses tokens
of its own; what they give is written into the cached MLP output and stays there until the next full step. In a fused
block all tokens compete, and those chosen meet the cached attention in the output projection.

``single_writeback=False`` is HunyuanVideo as released: the write into a fused block's cached output is commented out
there, so the work is done and thrown away and only double-stream blocks are refreshed. True is the idea as published.

Scores: ``random``, and ``v_norm``, the norms of the values at the last full step. The paper's attention score is not
offered: it needs the softmax matrix, which flash attention never forms (20 GB a layer on HunyuanVideo).

Differs from upstream: random scores come from a generator of each block's own and not from the global one, and the
samples of a batch share them, so that a sample does not depend on its batch; in fused blocks only the MLP input is
computed for the chosen tokens, not q, k and v too; attention is cached after its output projection everywhere.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from baselines.interval import Interval
from meancache.protocols import Feature, FeatureMethod
from meancache.schedule import Step

SCORES = ("random", "v_norm")
_VALUES = {"mlp": "value", "context_mlp": "context_value", "fused_mlp_in": "fused_value"}  # tokens, and their values
_OF_CHOSEN = ("fused_attention", *_VALUES.values())  # what is read for the chosen tokens alone
_CACHED = ("attention", "second_attention", "cross_attention", "mlp", "context_mlp", "fused_attention", "fused_out")


@dataclass
class _State:
    """Of one block; dictionaries are by kind of feature."""

    seed: int
    outputs: dict[str, Any] = field(default_factory=dict)  # of the last full step, with what was refreshed since
    value_scores: dict[str, Tensor] = field(default_factory=dict)  # (B, S)
    ages: dict[str, Tensor] = field(default_factory=dict)  # ToCa steps since a token was refreshed, (B, S)
    rows: Tensor | None = None  # tokens chosen in a fused block, on their way through it, (B, n)
    generator: torch.Generator | None = None


@dataclass(frozen=True)
class ToCa(Interval, FeatureMethod):
    """Refresh the MLPs of the best-scored tokens, a share of them that falls with depth.

    Args:
        interval: N; steps from one full step to the next.
        warmup: E; so many steps at the start are all full.
        ratio: R; layer l refreshes the share R (1.5 - l / 27) weight of its tokens, between none and all. The 27 is
            upstream's for every model: beyond the 40th block nothing is refreshed.
        score: random or v_norm.
        sign: of v_norm; 1: tokens with large values win, -1: with small ones.
        soft_weight: lambda; what the steps since a token's last refresh, over N, add to its score.
        single_writeback: keep what fused blocks compute; False is HunyuanVideo as released.
        double_weight: of the share, in double-stream blocks and where all blocks are of one kind.
        single_weight: of the share, in fused blocks.

    Raises:
        ValueError: an unknown score, a negative ratio or soft_weight, a sign other than 1 or -1, or one without v_norm.
    """

    ratio: float = 0.1
    score: str = "random"
    sign: int = 1
    soft_weight: float = 0.0
    single_writeback: bool = True
    double_weight: float = 0.4
    single_weight: float = 1.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}, got {self.score!r}")
        if self.sign not in (1, -1) or (self.sign == -1 and self.score != "v_norm"):
            raise ValueError(f"sign must be 1, or -1 with score=v_norm, got {self.sign!r} with score={self.score}")
        for name in ("ratio", "soft_weight", "double_weight", "single_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be a number >= 0, got {getattr(self, name)!r}")

    @property
    def kinds(self) -> Collection[str]:
        return {*_CACHED, "fused_mlp_in", *(_VALUES.values() if self.score == "v_norm" else ())}

    def new_features(self, seed: int, branch: Any) -> Any:
        return _State(seed)

    def full(self, step: Step, branch: Any) -> bool:
        return self.since_full(step.index) == 0

    def keep(self, step: Step, feature: Feature, state: _State, output: Any) -> None:
        state.ages.pop(feature.kind, None)
        if not self.is_reused(step.index, step.num_steps) or not self._is_read(feature, output):
            return
        if feature.kind in _CACHED:
            state.outputs[feature.kind] = output
        elif feature.kind in _VALUES.values():
            state.value_scores[feature.kind] = value_scores(output, feature.num_heads, self.sign)

    def recall(self, step: Step, feature: Feature, state: _State, compute: Callable[[Tensor], Any], x: Tensor) -> Any:
        cached: Any = state.outputs.get(feature.kind)
        if feature.kind in ("mlp", "context_mlp"):
            rows = self._choose(feature, state, x)
            return cached if rows is None else _write(cached, rows, compute(_read(x, rows)))
        if feature.kind == "fused_mlp_in":
            state.rows = self._choose(feature, state, x)
            return None if state.rows is None else compute(_read(x, state.rows))
        if feature.kind == "fused_attention":
            return None if state.rows is None else _read(cached, state.rows)
        if feature.kind == "fused_out" and state.rows is not None:
            rows, state.rows = state.rows, None
            fresh = compute(x)  # also where it is thrown away: the released code pays for it
            return _write(cached, rows, fresh) if self.single_writeback else cached
        return cached

    def share(self, feature: Feature) -> float:
        """Share of the tokens that this layer refreshes."""
        weight = self.single_weight if feature.kind.startswith("fused") else self.double_weight
        return min(max(self.ratio * (1.5 - feature.layer / 27) * weight, 0.0), 1.0)

    def _is_read(self, feature: Feature, output: Any) -> bool:
        """Whether an output is read: values and a fused block's attention are only for the tokens it refreshes."""
        return feature.kind not in _OF_CHOSEN or self._count(feature, output) > 0

    def _count(self, feature: Feature, x: Tensor) -> int:
        return int(self.share(feature) * x.shape[1])

    def _choose(self, feature: Feature, state: _State, x: Tensor) -> Tensor | None:
        """The tokens of ``x``, (B, S, D), that are refreshed: (B, n), or None for none."""
        count = self._count(feature, x)
        if count == 0:
            return None
        scores = self._scores(feature, state, x)
        if not self.soft_weight:
            return scores.topk(count, dim=1, sorted=False).indices
        ages = state.ages.setdefault(feature.kind, torch.zeros_like(scores))
        rows = (scores + self.soft_weight * ages / self.interval).topk(count, dim=1, sorted=False).indices
        ages += 1
        ages.scatter_(1, rows, 0.0)
        return rows

    def _scores(self, feature: Feature, state: _State, x: Tensor) -> Tensor:
        """What each token counts before its age. (B, S)"""
        if self.score == "v_norm":
            if _VALUES[feature.kind] not in state.value_scores:
                raise ValueError(
                    f"score=v_norm needs the values of {feature.stack}, whose projection the adapter does not name: "
                    f'add one of kind "{_VALUES[feature.kind]}", or take score=random'
                )
            return state.value_scores[_VALUES[feature.kind]]
        if state.generator is None:
            device = "cpu" if x.is_meta else x.device  # shapes without data draw nothing, and have no generators
            state.generator = torch.Generator(device).manual_seed(state.seed)
        scores = torch.rand(1, x.shape[1], generator=state.generator, device=x.device)
        return scores.repeat(x.shape[0], 1)


def value_scores(values: Tensor, num_heads: int, sign: int) -> Tensor:
    """Norm of each token's values, mean over heads, scaled to length 1 over the tokens that compete.

    Args:
        values: of all heads side by side. (B, S, heads x D)
        num_heads: how many.
        sign: 1: ||v||, as for FLUX in Shenyi-Z/TaylorSeer; -1: 1 - ||v||, as for DiT in DuCa.
    """
    norms = values.float().unflatten(-1, (num_heads, -1)).norm(dim=-1).mean(dim=-1)
    return normalize(norms if sign == 1 else 1 - norms, dim=1)


def _read(x: Tensor, rows: Tensor) -> Tensor:
    """Some tokens of x, for each sample its own: (B, S, D), (B, n) -> (B, n, D)."""
    return x.gather(1, rows.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def _write(cached: Tensor, rows: Tensor, fresh: Tensor) -> Tensor:
    """Put fresh tokens into the cached ones, in place: what is cached is the run's own and is next read as a whole."""
    return cached.scatter_(1, rows.unsqueeze(-1).expand(-1, -1, cached.shape[-1]), fresh.to(cached.dtype))

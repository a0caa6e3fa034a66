"""diffusers' own caches: FirstBlockCache, TaylorSeerCache, MagCache, FasterCache and whatever else it adds.

Upstream: huggingface/diffusers, src/diffusers/hooks and CacheMixin.enable_cache. Used as they are. What they do is not
always the papers': TaylorSeer's steps are one off, and by default it predicts attention only.

What they leave unsaid is an error here: a cache that hooks no module (TaylorSeer on Wan and Z-Image), one state for
both guidance branches, a number of steps that is not the run's.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import nn

from meancache.models import adapter_for
from meancache.protocols import ExternalMethod
from meancache.schedule import Schedule
from peers.traces import without_traces

ONE_STATE = ("FasterCacheConfig", "PyramidAttentionBroadcastConfig")  # whichever guidance branch is called


@dataclass(frozen=True)
class DiffusersCache(ExternalMethod):
    """``enable_cache(config(**settings))`` on every denoiser of the pipeline.

    Args:
        config: name of the configuration class in diffusers.hooks.
        settings: its fields. A dtype is given by name, a callback that gives a weight as a number;
            ``current_timestep_callback`` is filled in.

    Raises:
        ValueError: diffusers has no such cache, or the cache no such setting.
    """

    config: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = self.settings.keys() - self._fields()
        if unknown:
            raise ValueError(f"{self.config} has no setting {sorted(unknown)}, only {sorted(self._fields())}")

    def _class(self) -> Any:
        from diffusers import hooks

        if not self.config.endswith("Config") or not hasattr(hooks, self.config):
            known = sorted(name for name in vars(hooks) if name.endswith("CacheConfig"))
            raise ValueError(f"diffusers has no cache {self.config!r}, only {', '.join(known)}")
        return getattr(hooks, self.config)

    def _fields(self) -> set[str]:
        return {entry.name for entry in fields(self._class())}

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError if it was told another number of steps."""
        told = self.settings.get("num_inference_steps", schedule.num_steps)
        if told != schedule.num_steps:
            raise ValueError(f"{self.config} was made for {told} steps, but the run has {schedule.num_steps}")

    @contextmanager
    def enabled(self, pipe: Any) -> Iterator[None]:
        with ExitStack() as exits:
            for name in adapter_for(pipe).denoisers:
                denoiser = getattr(pipe, name)
                exits.enter_context(without_traces(denoiser))
                self._enable(denoiser, pipe, exits)
            yield

    def _enable(self, denoiser: Any, pipe: Any, exits: ExitStack) -> None:
        kind = type(denoiser).__name__
        if not hasattr(denoiser, "enable_cache"):
            raise ValueError(f"{kind} knows no caches of diffusers")
        if self.config in ONE_STATE and not denoiser.config.get("guidance_embeds"):
            raise ValueError(f"{self.config} keeps one state for all guidance branches, and {kind} may be run with two")
        before = _num_hooks(denoiser)
        denoiser.enable_cache(self._class()(**self._values(pipe)))
        exits.callback(denoiser.disable_cache)
        if _num_hooks(denoiser) == before:
            raise ValueError(f"{self.config} found nothing to hook in {kind}: nothing would be accelerated")

    def _values(self, pipe: Any) -> dict[str, Any]:
        values = dict(self.settings)
        for name, value in values.items():
            if name.endswith("_dtype"):
                values[name] = getattr(torch, value)
            elif name.endswith("_callback"):
                values[name] = _constant(value)
        if "current_timestep_callback" in self._fields():
            values["current_timestep_callback"] = lambda: pipe.current_timestep
        return values


def _constant(value: float) -> Any:
    return lambda _: value


def _num_hooks(denoiser: nn.Module) -> int:
    """Hooks on modules of the denoiser; one on the denoiser itself skips nothing in one branch."""
    registries = [vars(module).get("_diffusers_hook") for module in denoiser.modules() if module is not denoiser]
    return sum(len(registry.hooks) for registry in registries if registry is not None)

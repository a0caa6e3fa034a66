"""Who else has a hand on a pipeline: another session, another library's cache, a compiler that swallows our seams."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from meancache.seams.overrides import Around

HARMLESS = ("layerwise_casting", "peft_", "group_offloading", "lazy_", "layer_execution", "cp_", "text_kv_cache")
# the beginnings of names of diffusers' hooks that change no output: they move weights, or split work over devices


def check_is_free(pipe: Any, denoisers: Mapping[str, nn.Module], *, reaches_in: bool) -> None:
    """Raise ValueError, naming it, if something is on this pipeline that the session cannot share it with.

    Args:
        pipe: the pipeline.
        denoisers: its denoisers by attribute.
        reaches_in: blocks of the denoisers are to be overridden as well.
    """
    if isinstance(vars(pipe.scheduler).get("step"), Around):
        raise ValueError(f"{type(pipe).__name__} is attached to already: leave that block first")
    if hasattr(pipe, "_context_manager"):
        raise ValueError(f"cache-dit is on in {type(pipe).__name__}: call cache_dit.disable_cache(pipe) first")
    for name, denoiser in denoisers.items():
        if any(isinstance(vars(denoiser).get(entry), Around) for entry in ("forward", "_compiled_call_impl")):
            raise ValueError(f"the {name} is attached to already, through another pipeline: leave that block first")
        if cache := _cache_of(denoiser):
            raise ValueError(
                f"another cache is on in the {name} ({cache}): every run, the reference too, would be one of that "
                f"cache. Call {name}.disable_cache() first"
            )
        if reaches_in and (hasattr(denoiser, "_orig_mod") or denoiser._compiled_call_impl is not None):
            raise ValueError(
                f"the {name} is compiled as a whole, and blocks inside of a graph cannot be skipped: compile its "
                "blocks alone, with compile_repeated_blocks() (runtime.compile=true)"
            )


def _cache_of(denoiser: nn.Module) -> str | None:
    """The name of a hook of diffusers that changes what a denoiser gives, as its caches do."""
    registries = (vars(module).get("_diffusers_hook") for module in denoiser.modules())
    names = (str(name) for registry in registries if registry is not None for name in registry.hooks)
    return next((name for name in names if not name.startswith(HARMLESS)), None)

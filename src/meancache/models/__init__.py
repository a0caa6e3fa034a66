"""The models whose blocks are known: one file a family, each with its ``ADAPTER``. A new file is found by itself."""

from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from torch import nn

from meancache.models.adapter import ModelAdapter, unwrapped
from meancache.solver import check_solver

_FAMILIES: tuple[ModelAdapter, ...] = tuple(
    import_module(f"{__name__}.{file.name}").ADAPTER for file in iter_modules(__path__) if file.name != "adapter"
)
ADAPTERS = {name: adapter for adapter in _FAMILIES for name in adapter.classes}  # by class of the denoiser


def adapter_for(pipe: Any) -> ModelAdapter:
    """The adapter of a diffusers pipeline.

    Velocity-level methods need no more than the denoiser's name, so a pipeline that is not listed gets an adapter
    made from the transformers it holds.

    Raises:
        ValueError: the pipeline holds no transformer, or its scheduler does not solve a flow.
    """
    check_solver(pipe)
    kind = type(pipe).__name__
    names = _denoisers(pipe)
    if not names:
        raise ValueError(f"{kind} has no `transformer`; write a ModelAdapter that names its denoisers")
    known = ADAPTERS.get(type(unwrapped(getattr(pipe, names[0]))).__name__)
    return ModelAdapter(kind, denoisers=names) if known is None else replace(known, denoisers=names)


def _denoisers(pipe: Any) -> tuple[str, ...]:
    """Its transformers, and what else is of the same class: Ideogram 4 has one of its own for the empty prompt."""
    names = [name for name in ("transformer", "transformer_2") if isinstance(getattr(pipe, name, None), nn.Module)]
    kinds = {type(unwrapped(getattr(pipe, name))) for name in names}
    others = [name for name, part in getattr(pipe, "components", {}).items() if type(unwrapped(part)) in kinds]
    return tuple(dict.fromkeys([*names, *others]))

"""What a denoiser call costs: counted on a twin of the run's own denoiser without weights, on the run's own arguments.

Blocks of a list that have the same modules cost the same, so that one of each kind runs and the others hand their
input on: a model of 60 blocks costs two block calls.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from meancache.flops.measure import count_flops, on_meta
from meancache.flops.undecided import Undecided
from meancache.models.adapter import TOKENWISE, ModelAdapter, Stack, unwrapped

Arguments = Mapping[str, Any]  # of a denoiser call by name; its tensors have shapes and no data


@dataclass(frozen=True)
class CallCosts:
    """Prices of one denoiser call, for its whole batch.

    Attributes:
        units: FLOPs by unit of work, see `meancache.flops`.
        full_call: the work of a call in which everything runs.
    """

    units: Mapping[str, int]
    full_call: Mapping[str, int]

    def price(self, work: Mapping[str, float]) -> float:
        """FLOPs of what was booked.

        Raises:
            ValueError: work in a unit that has no price.
        """
        unknown = sorted(set(work) - set(self.units))
        if unknown:
            raise ValueError(f"work was booked in units without a price: {unknown}; known are {sorted(self.units)}")
        return sum(amount * self.units[unit] for unit, amount in work.items())


@dataclass
class _Seen:
    """A module of the twin: FLOPs of its call, and its arguments."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    flops: int = 0

    @property
    def rows(self) -> int:
        x: Tensor = self.kwargs["hidden_states"] if "hidden_states" in self.kwargs else self.args[0]
        return x.shape[1]


def described(denoiser: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
    """A denoiser call's arguments by name, with tensors of the same shape and dtype that have no data.

    Names are those of its class: on the instance torch.compile and other libraries may have put what names none.
    """
    (own, _), *given = signature(type(unwrapped(denoiser)).forward).bind(denoiser, *args, **kwargs).arguments.items()
    assert own == "self"
    arguments: Arguments = tree_map(_without_data, dict(given))
    return arguments


_counted: WeakKeyDictionary[nn.Module, dict[str, CallCosts]] = WeakKeyDictionary()  # by denoiser, then by shapes


def call_costs(denoiser: nn.Module, adapter: ModelAdapter, arguments: Arguments) -> CallCosts:
    """Prices of a denoiser call with these arguments, see :func:`described`.

    Raises:
        ValueError: the call cannot be made without data.
    """
    denoiser = unwrapped(denoiser)
    known = _counted.setdefault(denoiser, {})
    key = f"{adapter.name} {tree_map(_shape, arguments)}"
    if key not in known:
        try:
            known[key] = _count(on_meta(denoiser), adapter, tree_map(_in_float32, arguments))
        except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
            kind = type(denoiser).__name__
            raise ValueError(f"a call of {kind} cannot be made without data, which counts FLOPs: {error}") from error
    return known[key]


@torch.no_grad()
def _count(twin: nn.Module, adapter: ModelAdapter, arguments: Arguments) -> CallCosts:
    """Run a twin once and price what each unit of work is."""
    blocks = adapter.blocks(twin) if adapter.stacks else []
    kinds: dict[str, tuple[Stack, nn.Module]] = {}
    for stack, block in blocks:
        if kinds.setdefault(stack.unit, (stack, block))[1] is not block:
            block.forward = stack.hand_on
    full_call = Counter(["embed_out", *(f"blocks:{stack.unit}" for stack, _ in blocks)])
    modules = {unit: block for unit, (_, block) in kinds.items()}
    for unit, (stack, block) in kinds.items():
        modules |= {f"{unit}.{name}": block.get_submodule(name) for name in stack.features}
    total, seen = _run(twin, modules, arguments)
    units = {"embed_out": total - sum(seen[unit].flops for unit in kinds)}
    for unit, (stack, _) in kinds.items():
        units |= _block_units(unit, stack, seen)
    if adapter.modulated_input is not None and blocks:
        first = seen[blocks[0][0].unit]
        indicator = partial(adapter.modulated_input, blocks[0][1], first.args, first.kwargs)
        units["indicator"] = count_flops(indicator)
    return CallCosts(units, full_call)


def _block_units(unit: str, stack: Stack, seen: Mapping[str, _Seen]) -> dict[str, int]:
    """Prices of a block, of its modulation alone, and of a token in each module that knows no other tokens."""
    outer = [name for name in stack.features if not any(name.startswith(f"{other}.") for other in stack.features)]
    cached = sum(seen[f"{unit}.{name}"].flops for name in outer)
    units = {f"blocks:{unit}": seen[unit].flops, f"modulations:{unit}": seen[unit].flops - cached}
    for name, kind in stack.features.items():
        if kind in TOKENWISE:
            module = seen[f"{unit}.{name}"]
            units[f"tokens:{stack.name}.{name}"] = module.flops // module.rows
    return units


def _run(twin: nn.Module, modules: Mapping[str, nn.Module], arguments: Arguments) -> tuple[int, dict[str, _Seen]]:
    """FLOPs of a call of the twin, and what is seen of some of its modules."""
    counter, seen = FlopCounterMode(display=False), dict[str, _Seen]()

    def enter(name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        seen[name] = _Seen(args, kwargs, -counter.get_total_flops())

    def leave(name: str, module: nn.Module, args: Any, output: Any) -> None:
        seen[name].flops += counter.get_total_flops()

    for name, module in modules.items():
        module.register_forward_pre_hook(partial(enter, name), with_kwargs=True)
        module.register_forward_hook(partial(leave, name))
    with counter, Undecided():
        twin(**arguments)
    if unseen := modules.keys() - seen.keys():
        raise ValueError(f"{type(twin).__name__} ran without its modules {sorted(unseen)}; check the adapter")
    return int(counter.get_total_flops()), seen


def _without_data(leaf: Any) -> Any:
    return torch.empty_like(leaf, device="meta") if isinstance(leaf, Tensor) else leaf


def _in_float32(leaf: Any) -> Any:
    """A twin's weights are in float32; what is counted does not depend on it."""
    return leaf.float() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _shape(leaf: Any) -> Any:
    return tuple(leaf.shape) if isinstance(leaf, Tensor) else leaf

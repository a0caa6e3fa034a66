"""Runs without data: a pipeline on the meta device, where tensors have shapes and neither values nor memory.

The pipeline's own loop, scheduler, session and method run as they are. Only what the loop must know to go on has data:
timesteps and noise levels.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from meancache.flops.call import Arguments, described
from meancache.memory import storages
from meancache.models import adapter_for
from meancache.seams.overrides import override


class _Shapes(TorchDispatchMode):
    """Operations without data, several times as fast: what one gave is remembered by the shapes of its arguments.

    A number that a method reads off a tensor is 0, as if nothing had changed since the step before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[Any, list[Any] | None] = {}  # shape, strides and dtype of each output; None: to be asked again

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta and args[0].is_floating_point():
            return 0.0
        key = (func, _signature(args), _signature(tuple((kwargs or {}).items())))
        known = self.known.get(key)
        if known is not None:
            made = tuple(
                torch.empty_strided(shape, strides, dtype=dtype, device="meta") for shape, strides, dtype in known
            )
            return made if len(made) > 1 else made[0]
        output = func(*args, **(kwargs or {}))
        if key not in self.known:
            self.known[key] = _described(output, (args, kwargs))
        return output


def _described(output: Any, arguments: Any) -> list[Any] | None:
    """Shape, strides and dtype of new tensors without data; None for anything else, such as views of the arguments."""
    tensors = output if isinstance(output, tuple) and len(output) > 1 else (output,)
    if not all(isinstance(tensor, Tensor) and tensor.is_meta for tensor in tensors):
        return None
    if storages(tensors).keys() & storages(arguments).keys():
        return None
    return [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors]


def _signature(value: Any) -> Any:
    """What the shape of an operation's output can depend on."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device
    if isinstance(value, tuple | list):
        return tuple(_signature(item) for item in value)
    return type(value), value


@contextmanager
def without_data(pipe: Any) -> Iterator[None]:
    """Calls of a pipeline whose modules are on the meta device; attach methods inside of this."""
    scheduler = pipe.scheduler
    with ExitStack() as exits:
        exits.enter_context(override(scheduler, "set_timesteps", _with_data(scheduler.set_timesteps)))
        for name in adapter_for(pipe).denoisers:
            denoiser = getattr(pipe, name)
            exits.enter_context(override(denoiser, "forward", _on_meta(denoiser.forward)))
        exits.enter_context(_Shapes())
        yield


def first_calls(pipe: Any, inputs: Mapping[str, Any]) -> list[Arguments]:
    """Arguments of the denoiser calls of a step, of a pipeline whose modules are on the meta device."""
    denoiser, calls = pipe.transformer, list[Arguments]()
    forward = denoiser.forward

    @wraps(forward)
    def note(*args: Any, **kwargs: Any) -> tuple[Tensor]:
        calls.append(described(denoiser, args, kwargs))
        return (torch.empty_like(calls[-1]["hidden_states"]),)  # a velocity; of these models it has the same shape

    with without_data(pipe), override(denoiser, "forward", note):
        pipe(**inputs, num_inference_steps=1, output_type="latent")
    return calls


def _with_data(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)  # pipelines inspect its signature
    def set_timesteps(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs | {"device": "cpu"})

    return set_timesteps


def _on_meta(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = tree_map(lambda leaf: leaf.to("meta") if isinstance(leaf, Tensor) else leaf, (args, kwargs))
        return original(*args, **kwargs)

    return forward

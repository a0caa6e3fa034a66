"""The feature seam: modules inside the blocks run, or a method's features take their place.

At a step that is not full, blocks still run their norms and gates around the modules. Modules of a fused single-stream
block whose outputs nobody will read hand on tensors of width zero.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn

from meancache.models.adapter import Stack
from meancache.protocols import Feature, FeatureMethod
from meancache.run import Run
from meancache.seams.overrides import Override


class FeatureSeam:
    """The modules of one denoiser that a method wants to see; its state is kept in the run."""

    def __init__(
        self,
        current: Callable[[], Run],
        method: FeatureMethod,
        denoiser: str,
        blocks: Sequence[tuple[Stack, nn.Module]],
    ) -> None:
        self.current, self.method, self.denoiser, self.blocks = current, method, denoiser, blocks
        if any(block._compiled_call_impl is not None for _, block in blocks):
            raise ValueError("methods that cache features inside blocks need runtime.compile=false")
        for stack in {stack.name: stack for stack, _ in blocks}.values():
            kinds = set(stack.features.values())
            if not kinds & set(method.kinds):
                raise ValueError(
                    f"{stack.name} of this denoiser has none of the features {sorted(method.kinds)} that "
                    f"{type(method).__name__} caches, only {sorted(kinds)}"
                )

    def overrides(self) -> Iterator[Override]:
        names = [stack.name for stack, _ in self.blocks]
        for position, (stack, block) in enumerate(self.blocks):
            layer = position - names.index(stack.name)
            for name, kind in stack.features.items():
                if kind in self.method.kinds:
                    module = block.get_submodule(name)
                    feature = Feature(kind, stack.name, layer, name, _num_heads(kind, block, name))
                    yield Override(module, "forward", self._wrap(position, feature, module.forward))

    def _wrap(self, position: int, feature: Feature, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def forward(*args: Any, **kwargs: Any) -> Any:
            run = self.current()
            state = self._state(run, position)
            if run.whole:
                output = original(*args, **kwargs)
                self.method.keep(run.step, feature, state, _joined(feature, output))
                return output
            x = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            context = kwargs.get("encoder_hidden_states")
            compute = partial(self._compute, run, feature, original)
            return _split(feature, self.method.recall(run.step, feature, state, compute, x), x, context)

        return forward

    def _state(self, run: Run, position: int) -> Any:
        """The method's state of one block in the branch in progress."""
        key = (self.denoiser, position, run.branch)
        branch = run.branch_state(self.denoiser, self.method.new_branch)
        return run.state(key, partial(self.method.new_features, zlib.crc32(repr(key).encode()), branch))

    def _compute(self, run: Run, feature: Feature, original: Callable[..., Any], rows: Tensor) -> Any:
        run.ledger.book(f"tokens:{feature.stack}.{feature.module}", rows.shape[1])
        return original(rows)


def _num_heads(kind: str, block: nn.Module, name: str) -> int:
    """Heads of the attention that a value projection belongs to."""
    attention: Any = block.get_submodule(name.rpartition(".")[0])
    return attention.heads if kind.endswith("value") else 1


def _joined(feature: Feature, output: Any) -> Any:
    """A fused block's attention as one tensor over all tokens; HunyuanVideo's gives image and text apart."""
    return torch.cat(output, dim=1) if feature.kind == "fused_attention" and isinstance(output, tuple) else output


def _split(feature: Feature, recalled: Any, x: Tensor, context: Tensor | None) -> Any:
    """What a method recalled in the form the block expects; None becomes tensors of width zero."""
    if recalled is None:
        widths = [x] if context is None else [x, context]
        empty = tuple(tensor.new_empty((*tensor.shape[:-1], 0)) for tensor in widths)
        return empty if context is not None else empty[0]
    if feature.kind == "fused_attention" and context is not None:
        return recalled, recalled[:, :0]
    return recalled

"""Answers to what a model asks of its tensors' values, where they have none."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class Undecided(TorchDispatchMode):
    """On the meta device a number is 0, a condition False, and a mask takes all rows, its complement none.

    Whatever a mask takes, it and its complement take each row once: HunyuanVideo 1.5 sorts its text like that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._complements: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten._local_scalar_dense.default and args[0].is_meta:
            return False if args[0].dtype is torch.bool else 0
        if func is aten.index.Tensor and args[0].is_meta and _is_mask(args[1]):
            x, mask = args[0], args[1][0]
            rows = 0 if any(mask is complement for complement in self._complements) else mask.numel()
            return x.new_empty((rows, *x.shape[mask.ndim :]))
        output = func(*args, **(kwargs or {}))
        if func is aten.bitwise_not.default and args[0].dtype is torch.bool:
            self._complements.append(output)
        return output


def _is_mask(indices: Any) -> bool:
    return len(indices) == 1 and indices[0].dtype is torch.bool

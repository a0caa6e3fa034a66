"""TaylorSeer's factor table, arXiv 2503.06923: backward differences in step units, and what they extrapolate to."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def updated(factors: Sequence[Tensor], value: Tensor, gap: int, order: int) -> list[Tensor]:
    """The table after a computed step: F'_0 = value, F'_{k+1} = (F'_k - F_k) / gap while F_k exists and k < order.

    The latest gap serves all orders, so above order 1 the table is a mixture where gaps change (after the warm-up).

    Args:
        factors: the table of the computed step before, empty at the first.
        value: what was computed. (B, ...)
        gap: steps between the two.
        order: highest order kept.
    """
    table = [value]
    for older in factors[:order]:
        table.append((table[-1] - older) / gap)
    return table


def extrapolated(factors: Sequence[Tensor], distance: int) -> Tensor:
    """sum_k F_k x^k / k!, with x = ``distance`` steps from the computed one."""
    total = factors[0]
    for k, factor in enumerate(factors[1:], start=1):
        total = torch.add(total, factor, alpha=distance**k / math.factorial(k))
    return total

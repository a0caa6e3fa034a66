"""How far two states of a run are apart."""

from torch import Tensor


def magnitude(x: Tensor) -> Tensor:
    """mean|x| over all elements, the batch included."""
    return x.abs().mean()


def relative_l1(new: Tensor, old: Tensor, size: Tensor | None = None) -> float:
    """mean|new - old| / mean|old| over all elements, the batch included. Waits for the device: one number a call.

    ``size`` is mean|old| where it is known already.
    """
    return (magnitude(new - old) / (magnitude(old) if size is None else size)).item()

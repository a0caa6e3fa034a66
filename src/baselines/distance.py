"""How far two states of a run are apart."""

from torch import Tensor


def relative_l1(new: Tensor, old: Tensor) -> float:
    """mean|new - old| / mean|old| over all elements, the batch included. Waits for the device: one number a call."""
    return ((new - old).abs().mean() / old.abs().mean()).item()

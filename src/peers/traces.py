"""Libraries that patch modules leave attributes behind when they are switched off."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def without_traces(denoiser: nn.Module) -> Iterator[None]:
    """Remove what was set on the denoiser and its modules meanwhile and had not been there before."""
    before = [(module, set(vars(module))) for module in denoiser.modules()]
    try:
        yield
    finally:
        for module, names in before:
            for name in vars(module).keys() - names:
                delattr(module, name)

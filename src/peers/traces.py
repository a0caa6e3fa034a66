"""Libraries that patch modules leave things behind when they are switched off."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def without_traces(denoiser: nn.Module) -> Iterator[None]:
    """Remove what was set meanwhile on the denoiser's modules, and put their children back in order.

    cache-dit takes block lists out and puts them back last first; diffusers' caches, which find their first block by
    this order, then skip the wrong ones.
    """
    before = [(module, set(vars(module)), list(module._modules)) for module in denoiser.modules()]
    try:
        yield
    finally:
        for module, names, children in before:
            for name in vars(module).keys() - names:
                delattr(module, name)
            for name in children:
                module._modules[name] = module._modules.pop(name)

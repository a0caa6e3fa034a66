"""Instance overrides that are put on for a block of code and taken off after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn


class Override(NamedTuple):
    """An attribute of an object, and what to put there."""

    owner: Any
    name: str
    replacement: Callable[..., Any]


@contextmanager
def override(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Set an instance attribute; on exit put back what was there, if it is still ours."""
    before = vars(owner).get(name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if vars(owner).get(name) is replacement:
            delattr(owner, name)
            if before is not None:
                setattr(owner, name, before)


def entry_of(module: nn.Module) -> str:
    """The attribute through which a call of ``module`` goes: its forward, or what torch.compile put before it."""
    return "forward" if module._compiled_call_impl is None else "_compiled_call_impl"

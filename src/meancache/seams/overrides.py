"""Instance overrides that are put on for a block of code and taken off after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import update_wrapper
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


class Around:
    """A method of an object with a function around it: ``around(owner, original, *args, **kwargs)``.

    A deep copy of the owner carries one that is bound to the copy: pipelines and servers copy schedulers in mid-call.
    """

    def __init__(self, around: Callable[..., Any], owner: Any, name: str) -> None:
        self.around, self.owner, self.name = around, owner, name
        self.original = getattr(owner, name)
        update_wrapper(self, self.original)  # pipelines inspect its signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.around(self.owner, self.original, *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Around":
        copy = object.__new__(Around)
        copy.around, copy.name, copy.owner = self.around, self.name, memo.get(id(self.owner), self.owner)
        copy.original = getattr(type(copy.owner), self.name).__get__(copy.owner)
        update_wrapper(copy, copy.original)
        return copy


def entry_of(module: nn.Module) -> str:
    """The attribute through which a call of ``module`` goes: its forward, or what torch.compile put before it."""
    return "forward" if module._compiled_call_impl is None else "_compiled_call_impl"

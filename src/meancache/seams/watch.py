"""How many blocks ran under another library's cache, seen at each block's query projection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from torch import nn

from meancache.models.adapter import Stack
from meancache.seams.overrides import Override

if TYPE_CHECKING:
    from meancache.session import Session


class Watch:
    """Counts blocks; a denoiser call is full when all of them ran."""

    def __init__(self, session: Session, blocks: Sequence[tuple[Stack, nn.Module]]) -> None:
        self.session, self.blocks = session, blocks
        self._call, self._ran = (-1, -1), 0  # step and branch, and how many of its blocks ran

    def overrides(self) -> Iterator[Override]:
        for stack, block in self.blocks:
            attention = next(name for name, kind in stack.features.items() if kind.endswith("attention"))
            module = block.get_submodule(f"{attention}.to_q")
            yield Override(module, "forward", self._wrap(stack, module.forward))

    def _wrap(self, stack: Stack, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def forward(*args: Any, **kwargs: Any) -> Any:
            run = self.session.run
            run.work[f"blocks:{stack.unit}"] += 1
            if self._call != (run.index, run.branch):
                self._call, self._ran = (run.index, run.branch), 0
            self._ran += 1
            run.counters.full_calls += self._ran == len(self.blocks)
            return original(*args, **kwargs)

        return forward

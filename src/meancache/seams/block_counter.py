"""How many blocks ran under another library's cache, seen at a module that each runs once."""

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

from torch import nn

from meancache.models.adapter import Stack
from meancache.run import Run
from meancache.seams.overrides import Override


class BlockCounter:
    """Counts the blocks of one denoiser; a call of it is full when all of them ran."""

    def __init__(self, current: Callable[[], Run], blocks: Sequence[tuple[Stack, nn.Module]]) -> None:
        self.current, self.blocks = current, blocks
        self._call, self._ran = (-1, -1), 0  # step and branch, and how many of its blocks ran

    def overrides(self) -> Iterator[Override]:
        for stack, block in self.blocks:
            module = block.get_submodule(stack.query)
            yield Override(module, "forward", self._wrap(stack, module.forward))

    def _wrap(self, stack: Stack, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def forward(*args: Any, **kwargs: Any) -> Any:
            run = self.current()
            run.ledger.book(f"blocks:{stack.unit}")
            if self._call != (run.index, run.branch):
                self._call, self._ran = (run.index, run.branch), 0
            self._ran += 1
            run.ledger.full_calls += self._ran == len(self.blocks)
            return original(*args, **kwargs)

        return forward

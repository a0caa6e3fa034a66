"""The residual seam: blocks [probe_depth, N - tail_depth) of a block list run, or a method's streams take their place.

Every block's forward is overridden on the instance. A skipped block hands its input on; the first of them hands on
what the method predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from torch import nn

from meancache.models.adapter import Stack, argument
from meancache.protocols import Probe, ResidualMethod, Streams
from meancache.seams.overrides import Override, entry_of

if TYPE_CHECKING:
    from meancache.session import Session

Block = tuple[Stack, nn.Module]


@dataclass
class _Call:
    """One call of the denoiser on its way through the blocks."""

    entry: Streams
    modulated_input: Callable[[], Any]
    time: Any
    skips: bool = False
    probe: Probe | None = None
    probed: list[Callable[[], Any]] = field(default_factory=list)  # the probe's blocks, to run once more


class ResidualSeam:
    """One block list of one denoiser, ``share`` of all its blocks; the state of the method is kept in the run."""

    def __init__(
        self, session: Session, method: ResidualMethod, denoiser: str, blocks: Sequence[Block], share: float
    ) -> None:
        self.session, self.method, self.share = session, method, share
        self.key, self.blocks = (denoiser, blocks[0][0].name), blocks
        self.start, self.end = method.probe_depth, len(blocks) - method.tail_depth
        self._call: _Call | None = None
        if not 0 <= self.start < self.end <= len(blocks):
            raise ValueError(
                f"a probe of {method.probe_depth} and a tail of {method.tail_depth} blocks leave nothing to skip of "
                f"the {len(blocks)} blocks of {session.adapter.name}; make them smaller"
            )

    def overrides(self) -> Iterator[Override]:
        for position, (stack, block) in enumerate(self.blocks):
            name = entry_of(block)
            yield Override(block, name, self._wrap(position, stack, block, getattr(block, name)))

    def _wrap(self, position: int, stack: Stack, block: nn.Module, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def forward(*args: Any, **kwargs: Any) -> Any:
            streams = stack.read(args, kwargs)
            if position == 0:
                modulated = partial(self._modulated_input, block, args, kwargs)
                self._call = _Call(streams, modulated, argument(self.session.adapter.time, args, kwargs))
            call = self._call
            assert call is not None
            if position == len(self.blocks) - 1:
                self._call = None  # streams of this call are not held until the next one
            if position == self.start and not self._computes(call, streams):
                return stack.pack(self._predict(call))
            if call.skips and self.start < position < self.end:
                return stack.pack(streams)
            if position < self.start and self.method.restarts(self.session.run.step):
                call.probed.append(partial(original, *args, **kwargs))
            output = original(*args, **kwargs)
            self.session.book_blocks(stack)
            if position == self.end - 1 and not call.skips:
                self._observe(call, stack.unpack(output))
            return output

        return forward

    def _computes(self, call: _Call, here: Streams) -> bool:
        call.probe = Probe(call.entry, here, call.modulated_input, call.time)
        step, is_new = self.session.run.step, self._key() not in self.session.run.states
        computes = self.method.computes(step, self._state(), call.probe)
        call.skips = not (computes or is_new)  # a denoiser that takes over in mid-run (Wan 2.2) has nothing to reuse
        if not call.skips:
            for (stack, _), block in zip(self.blocks, call.probed):
                block()
                self.session.book_blocks(stack)
        return not call.skips

    def _predict(self, call: _Call) -> Streams:
        assert call.probe is not None
        return self.method.predict(self.session.run.step, self._state(), call.probe)

    def _observe(self, call: _Call, out: Streams) -> None:
        assert call.probe is not None
        self.method.observe(self.session.run.step, self._state(), call.probe, out)
        self.session.run.counters.full_calls += self.share * self.session.runs_whole_blocks()

    def _key(self) -> Hashable:
        return *self.key, self.session.run.branch if self.method.per_branch else 0

    def _state(self) -> Any:
        return self.session.run.state(self._key(), self.method.new_state)

    def _modulated_input(self, block: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        adapter = self.session.adapter
        assert adapter.modulated_input is not None, f"the adapter {adapter.name} names blocks but no modulated input"
        self.session.run.work["indicator"] += 1
        return adapter.modulated_input(block, args, kwargs)

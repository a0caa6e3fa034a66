"""The residual seam: blocks [probe_depth, N - tail_depth) of a block list run, or a method's streams take their place.

Every block's forward is overridden on the instance. A skipped block hands its input on; the first of them hands on
what the method predicts.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any

from torch import nn

from meancache.models.adapter import ModelAdapter, Stack, argument
from meancache.protocols import Probe, ResidualMethod, Streams
from meancache.run import Run
from meancache.seams.overrides import Override, entry_of

Block = tuple[Stack, nn.Module]


@dataclass
class _Call:
    """One call of the denoiser on its way through the blocks."""

    run: Run
    entry: Streams
    modulated_input: Callable[[], Any]
    time: Any
    skips: bool = False
    passed: int = 0  # blocks so far
    probe: Probe | None = None
    probed: list[Callable[[], Any]] = field(default_factory=list)  # the probe's blocks, to run once more


class ResidualSeam:
    """One block list of one denoiser, ``share`` of all its blocks; the state of the method is kept in the run."""

    def __init__(
        self,
        current: Callable[[], Run],
        method: ResidualMethod,
        adapter: ModelAdapter,
        denoiser: str,
        blocks: Sequence[Block],
        share: float,
    ) -> None:
        self.current, self.method, self.adapter, self.share = current, method, adapter, share
        self.key, self.blocks = (denoiser, blocks[0][0].name), blocks
        self.start, self.end = method.probe_depth, len(blocks) - method.tail_depth
        self._call: _Call | None = None
        if not 0 <= self.start < self.end <= len(blocks):
            raise ValueError(
                f"a probe of {method.probe_depth} and a tail of {method.tail_depth} blocks leave nothing to skip of "
                f"the {len(blocks)} blocks of {adapter.name}; make them smaller"
            )

    def overrides(self) -> Iterator[Override]:
        for position, (stack, block) in enumerate(self.blocks):
            name = entry_of(block)
            yield Override(block, name, self._wrap(position, stack, block, getattr(block, name)))

    def _wrap(self, position: int, stack: Stack, block: nn.Module, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def forward(*args: Any, **kwargs: Any) -> Any:
            streams = stack.read(args, kwargs, self._num_text())
            call = self._pass(position, streams, block, args, kwargs)
            if position == self.start and not self._computes(call, streams):
                return stack.pack(self._predict(call))
            if call.skips and self.start < position < self.end:
                return stack.hand_on(*args, **kwargs)
            if position < self.start and self.method.restarts(self.current().step):
                call.probed.append(partial(original, *args, **kwargs))
            output = original(*args, **kwargs)
            self.current().book_block(stack.unit)
            if position == self.end - 1 and not call.skips:
                self._observe(call, stack.unpack(output, self._num_text()))
            return output

        return forward

    def _pass(self, position: int, streams: Streams, block: nn.Module, args: Any, kwargs: Any) -> _Call:
        """The call in progress, begun at the first block and let go at the last: its streams are not held longer.

        Raises:
            RuntimeError: the denoiser has left out a block before this one.
        """
        run = self.current()
        call = (
            self._call if self._call is not None and self._call.run is run else None
        )  # else of a run that was cut off
        if position == 0 and call is None:
            modulated = partial(self._modulated_input, block, args, kwargs)
            is_first_list = self.key[1] == self.adapter.stacks[0].name  # the adapter tells of the denoiser's block 0
            time = argument(self.adapter.time, args, kwargs) if is_first_list else None
            call = _Call(run, streams, modulated, time)
        if call is None or call.passed != position:
            raise RuntimeError(
                "the denoiser leaves out blocks itself, as skip-layer guidance does: methods that skip blocks cannot "
                "be used with it"
            )
        call.passed += 1
        self._call = None if call.passed == len(self.blocks) else call
        return call

    def _computes(self, call: _Call, here: Streams) -> bool:
        call.probe = Probe(call.entry, here, call.modulated_input, call.time)
        run, is_new = self.current(), self._key() not in self.current().states
        computes = self.method.computes(run.step, self._state(), call.probe)
        call.skips = not (computes or is_new)  # a denoiser that takes over in mid-run (Wan 2.2) has nothing to reuse
        if not call.skips:
            for (stack, _), block in zip(self.blocks, call.probed):
                block()
                run.book_block(stack.unit)
        return not call.skips

    def _predict(self, call: _Call) -> Streams:
        assert call.probe is not None
        return self.method.predict(self.current().step, self._state(), call.probe)

    def _observe(self, call: _Call, out: Streams) -> None:
        assert call.probe is not None
        run = self.current()
        self.method.observe(run.step, self._state(), call.probe, out)
        run.ledger.full_calls += self.share * run.whole

    def _num_text(self) -> int:
        """Text tokens in the denoiser call in progress."""
        return max(self.adapter.text_tokens(self.current().ledger.call_arguments), default=0)

    def _key(self) -> Hashable:
        return *self.key, self.current().branch if self.method.per_branch else 0

    def _state(self) -> Any:
        return self.current().state(self._key(), self.method.new_state)

    def _modulated_input(self, block: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        assert self.adapter.modulated_input is not None, f"{self.adapter.name} names blocks but no modulated input"
        self.current().ledger.book("indicator")
        return self.adapter.modulated_input(block, args, kwargs)

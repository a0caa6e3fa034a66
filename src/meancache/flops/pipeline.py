"""FLOPs of whole runs: what the session booked, priced, and what a pipeline does once beside it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meancache.flops.call import Arguments, CallCosts, call_costs
from meancache.flops.encoders_and_vae import pipeline_constant
from meancache.models.adapter import ModelAdapter, unwrapped

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFlops:
    """FLOPs of one sample.

    Attributes:
        denoiser: of the denoiser calls alone; None where they cannot be counted.
        pipeline: text encoders and VAE decoder included; None where those are not known.
    """

    denoiser: float | None
    pipeline: float | None


@dataclass(frozen=True)
class PipelineCosts:
    """Prices of a sample.

    Attributes:
        branches: of each denoiser call of a step.
        once: FLOPs of text encoders and VAE decoder.
    """

    branches: tuple[CallCosts, ...]
    once: float

    @property
    def full_call(self) -> Mapping[str, int]:
        """The work of a call in which everything runs."""
        return self.branches[0].full_call

    def run(self, works: Sequence[Mapping[str, float]]) -> float:
        """FLOPs of the denoiser calls of a run that booked ``works``, one for each branch.

        Raises:
            ValueError: another number of branches, or work in a unit that has no price.
        """
        if len(works) != len(self.branches):
            raise ValueError(f"work of {len(works)} branches, but prices of {len(self.branches)}")
        return sum(branch.price(work) for branch, work in zip(self.branches, works))

    def full_run(self, num_steps: int) -> float:
        """FLOPs of the denoiser calls of a run in which every step is computed."""
        work = {unit: num_steps * amount for unit, amount in self.full_call.items()}
        return self.run([work] * len(self.branches))


def branch_costs(pipe: Any, adapter: ModelAdapter, arguments: Sequence[Arguments]) -> tuple[CallCosts, ...]:
    """Prices of the denoiser calls of a step, from the arguments of each.

    Raises:
        ValueError: a call that cannot be made without data, or experts that differ.
    """
    denoisers = [unwrapped(getattr(pipe, name)) for name in adapter.denoisers]
    if any(_architecture(other) != _architecture(denoisers[0]) for other in denoisers):
        raise ValueError(f"the denoisers of {type(pipe).__name__} differ, and their steps are not told apart")
    return tuple(call_costs(denoisers[0], adapter, call) for call in arguments)


def _architecture(denoiser: Any) -> dict[str, Any]:
    """The config of a denoiser, but for where it was loaded from."""
    return {key: value for key, value in denoiser.config.items() if not key.startswith("_")}


def pipeline_costs(
    pipe: Any,
    adapter: ModelAdapter,
    arguments: Sequence[Arguments],
    call: Mapping[str, Any],
    *,
    batch_size: int = 1,
) -> PipelineCosts:
    """Prices of a run of a whole pipeline, for one sample where a batch has one.

    Args:
        pipe: a loaded pipeline, on whatever device.
        adapter: names its denoisers and blocks.
        arguments: of the denoiser call of each branch, see :func:`meancache.flops.described`.
        call: arguments of the pipeline call: height, width, num_frames, and how it pads prompts, else its defaults.
        batch_size: samples in the denoiser calls.

    Raises:
        ValueError: what runs cannot be counted or is not known.
    """
    return PipelineCosts(branch_costs(pipe, adapter, arguments), _once(pipe, adapter, arguments, call, batch_size))


def sample_flops(
    pipe: Any,
    adapter: ModelAdapter,
    *,
    works: Sequence[Mapping[str, float]],
    arguments: Sequence[Arguments],
    batch_size: int,
    call: Mapping[str, Any],
) -> RunFlops:
    """FLOPs of one sample of a finished run: its share of the batch's denoiser calls, and text encoders and VAE.

    Args:
        pipe: the pipeline that ran.
        adapter: the one that it ran with.
        works: what the run booked, by branch.
        arguments: of the first denoiser call of each branch.
        batch_size: samples of the run.
        call: arguments of the pipeline call.
    """
    try:
        prices = branch_costs(pipe, adapter, arguments)
        denoiser = sum(branch.price(work) for branch, work in zip(prices, works, strict=True)) / batch_size
    except ValueError as error:
        log.info("no FLOPs of %s: %s", type(pipe).__name__, error)
        return RunFlops(None, None)
    try:
        return RunFlops(denoiser, denoiser + _once(pipe, adapter, arguments, call, batch_size))
    except ValueError as error:
        log.info("FLOPs of the denoiser alone: %s", error)
        return RunFlops(denoiser, None)


def _once(
    pipe: Any, adapter: ModelAdapter, arguments: Sequence[Arguments], call: Mapping[str, Any], batch_size: int
) -> int:
    """FLOPs of text encoders and VAE for one sample.

    A denoiser call may hold several prompts of a sample (Z-Image: both of guidance), padded to the longest.
    """
    tokens: list[int] = []
    for branch in arguments:
        lengths = adapter.text_tokens(branch)
        tokens += [max(lengths, default=0)] * (len(lengths) // batch_size)
    return pipeline_constant(pipe, text_tokens=tokens, call=call)

"""FLOPs of whole runs: what the session booked, priced, and what a pipeline does once beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meancache.flops.closed_form import denoiser_flops, full_call, unit_costs
from meancache.flops.once import Call, EncoderTokens, image_tokens, pipeline_constant


@dataclass(frozen=True)
class RunFlops:
    """FLOPs of one sample.

    Attributes:
        denoiser: of the denoiser calls alone.
        pipeline: text encoders and VAE decoder included.
    """

    denoiser: float
    pipeline: float


@dataclass(frozen=True)
class PipelineCosts:
    """Prices of one sample at one size.

    Attributes:
        branches: FLOPs by unit of work, for each denoiser call of a step.
        full_call: the work of a call in which everything runs.
        once: FLOPs of text encoders and VAE decoder.
    """

    branches: tuple[Mapping[str, float], ...]
    full_call: Mapping[str, int]
    once: float

    def run(self, works: Sequence[Mapping[str, float]]) -> RunFlops:
        """FLOPs of a run that booked ``works``, one for each branch.

        Raises:
            ValueError: another number of branches, or work in a unit that has no price.
        """
        if len(works) != len(self.branches):
            raise ValueError(f"work of {len(works)} branches, but text lengths of {len(self.branches)} were given")
        denoiser = sum(denoiser_flops(work, costs) for work, costs in zip(works, self.branches))
        return RunFlops(denoiser, denoiser + self.once)

    def full_run(self, num_steps: int) -> RunFlops:
        """FLOPs of a run in which every step is computed."""
        work = {unit: num_steps * amount for unit, amount in self.full_call.items()}
        return self.run([work] * len(self.branches))


def pipeline_costs(
    pipe: Any,
    *,
    height: int,
    width: int,
    text_tokens: Sequence[int],
    num_frames: int = 1,
    encoder_tokens: EncoderTokens | None = None,
    call: Call | None = None,
) -> PipelineCosts:
    """Prices of a sample of this size.

    Args:
        pipe: a loaded pipeline, on whatever device.
        height: of the sample, in pixels.
        width: of the sample, in pixels.
        text_tokens: text tokens that enter the denoiser, for each of its calls in a step. Z-Image with guidance makes
            one call with both prompts in it: price it as two branches, each with the work of that call and the tokens
            of the longer prompt (the shorter one is embedded before it is padded: up to 0.01 % less).
        num_frames: of the sample.
        encoder_tokens: see :func:`pipeline_constant`.
        call: likewise.

    Raises:
        ValueError: the denoiser has no closed form, or the encoders' tokens must be given.
    """
    if pipe.config.get("expand_timesteps"):
        raise ValueError(f"{type(pipe).__name__} with one timestep a token: its FLOPs are not known in closed form")
    kind, config = type(pipe.transformer).__name__, pipe.transformer.config
    image = image_tokens(pipe, height, width, num_frames)
    costs = [unit_costs(kind, config, image_tokens=image, text_tokens=text) for text in text_tokens]
    once = pipeline_constant(
        pipe,
        height=height,
        width=width,
        num_frames=num_frames,
        text_tokens=text_tokens,
        encoder_tokens=encoder_tokens,
        call=call,
    )
    return PipelineCosts(tuple(costs), full_call(kind, config), once)

"""What tests do with the tiny random pipelines of `tests.families`: run one with a method attached."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch

from meancache.method import Full
from meancache.models import adapter_for
from meancache.schedule import Schedule
from meancache.seams.overrides import override
from meancache.session import Session, attach
from tests.families import Family, load, wan

NUM_STEPS = 12
FAMILIES = load()
FIRST = [name for name, family in FAMILIES.items() if family.is_first]  # every method is tried on them


class RandomPipeline:
    """A pipeline with fixed random inputs: ``run(seed)`` gives the final latents."""

    def __init__(self, pipe: Any, family: Family) -> None:
        pipe.set_progress_bar_config(disable=True)
        self.pipe, self.family, self.inputs = pipe, family, family.inputs

    def run(self, *seeds: int, num_steps: int = NUM_STEPS, **options: Any) -> torch.Tensor:
        seeds = seeds or (0,)
        rows = [self.inputs(seed) for seed in seeds]
        batch = {key: _batched([row[key] for row in rows]) for key in rows[0]}
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        settings = {"generator": generators, "output_type": "latent", "num_inference_steps": num_steps}
        return self.pipe(**batch | settings | options, return_dict=False)[0]


def _batched(values: list[Any]) -> Any:
    """Tensors and lists (Z-Image's prompts) of several prompts as one; settings as they are."""
    if torch.is_tensor(values[0]):
        return torch.cat(values)
    return [item for value in values for item in value] if isinstance(values[0], list) else values[0]


@functools.cache
def random_pipeline_of(family: str) -> RandomPipeline:
    """The tiny pipeline of a model family."""
    torch.manual_seed(0)
    return RandomPipeline(FAMILIES[family].make(), FAMILIES[family])


@functools.cache
def two_expert_wan(boundary_ratio: float) -> RandomPipeline:
    """Wan 2.2: below this noise level a second transformer takes over."""
    torch.manual_seed(0)
    return RandomPipeline(wan.make(boundary_ratio), wan.FAMILY)


def attached(
    pipeline: RandomPipeline, method: Any, *seeds: int, keep: bool = False, **options: Any
) -> tuple[torch.Tensor, Session]:
    """Final latents and session of one run with a method; ``keep`` its trajectory and states."""
    with attach(pipeline.pipe, adapter_for(pipeline.pipe), method, keep=keep) as session:
        return pipeline.run(*seeds, **options), session


@contextmanager
def interrupted(pipeline: RandomPipeline, step: int) -> Iterator[None]:
    """The pipeline's solver is stopped at this step; attach inside of this."""
    scheduler, steps = pipeline.pipe.scheduler, count()
    take_step = scheduler.step

    def interrupt(*args: Any, **kwargs: Any) -> Any:
        if next(steps) == step:
            raise KeyboardInterrupt
        return take_step(*args, **kwargs)

    with override(scheduler, "step", interrupt):
        yield


@functools.cache
def schedule_of(pipeline: RandomPipeline, num_steps: int = NUM_STEPS) -> Schedule:
    """The sigma grid that a pipeline runs on."""
    return attached(pipeline, Full(), num_steps=num_steps)[1].run.schedule

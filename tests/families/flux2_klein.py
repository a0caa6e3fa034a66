"""FLUX.2 Klein: no guidance embedding, two calls a step."""

from typing import Any

from diffusers import Flux2KleinPipeline

from tests.families import SIZE, Family, flux2, prompts


def make() -> Any:
    return Flux2KleinPipeline(**flux2.parts(guidance_embeds=False))


def inputs(seed: int) -> dict[str, Any]:
    return prompts(seed) | SIZE


FAMILY = Family(make, inputs, num_branches=2, threshold=1.0)

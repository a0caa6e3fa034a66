"""Qwen-Image with guidance off, by its scale or for want of a negative prompt: every method runs, on one branch.

The authors' released scripts write their log inside the guided branch and stop here.
"""

import pytest
import torch

from tests.baselines.test_matrix import METHODS, STEPS
from tests.pipelines import RandomPipeline, attached, random_pipeline_of


@pytest.fixture(scope="module")
def unprompted() -> RandomPipeline:
    """The tiny Qwen-Image without a negative prompt; its scale still asks for guidance."""
    guided = random_pipeline_of("qwen_image")

    def inputs(seed: int):
        return {key: value for key, value in guided.inputs(seed).items() if not key.startswith("negative")}

    return RandomPipeline(guided.pipe, guided.family._replace(inputs=inputs))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_without_guidance(name, unprompted):
    pipeline, row = random_pipeline_of("qwen_image"), METHODS[name]
    method = row.sparse(pipeline)
    latents, session = attached(pipeline, method, num_steps=STEPS, true_cfg_scale=1.0)
    assert session.run.num_branches == 1
    assert torch.isfinite(latents).all()
    assert session.run.nfe == row.nfe if row.nfe is not None else 1 < session.run.nfe < STEPS
    again, other = attached(unprompted, method, num_steps=STEPS)
    assert other.run.num_branches == 1
    assert torch.equal(again, latents)


def test_calibration_records_every_step_without_guidance(unprompted):
    """What the stability map is made from: the velocity of the one branch, at every step."""
    _, session = attached(unprompted, METHODS["full"].sparse(unprompted), num_steps=STEPS, keep=True)
    assert len(session.run.full_trajectory().velocities) == STEPS

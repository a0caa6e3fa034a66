"""TeaCache's decisions: the expected steps for a constant change, and its boundary."""

from typing import Any

import pytest
import torch
import yaml

from baselines.teacache import TeaCache
from experiments.compose import CONF, compose_config
from meancache.models import adapter_for
from meancache.protocols import Probe, Streams
from meancache.schedule import Schedule
from meancache.session import attach
from tests.pipelines import attached

SCHEDULE = Schedule([1 - i / 50 for i in range(51)])
CONSTANT = (0.0, 0.0, 0.0, 0.0, 0.1804)  # the lowest value of FLUX's quartic, whatever the change


def computed_steps(method: TeaCache) -> list[int]:
    state, computed, ones = method.new_state(), [], torch.ones(1, 1, 1)
    probe = Probe(Streams(ones), Streams(ones), lambda: ones, ones)
    for step in SCHEDULE.steps():
        if method.computes(step, state, probe):
            method.observe(step, state, probe, Streams(torch.ones(1, 1, 1)))
            computed.append(step.index)
    return computed


@pytest.mark.parametrize(("threshold", "count"), [(0.25, 26), (0.4, 18), (0.6, 14), (0.8, 11), (1.5, 7)])
def test_steps_at_flux_smallest_increment(threshold, count):
    assert len(computed_steps(TeaCache(threshold, CONSTANT))) == count


def test_which_steps():
    assert computed_steps(TeaCache(0.25, CONSTANT)) == [*range(0, 49, 2), 49]
    assert computed_steps(TeaCache(1.5, CONSTANT)) == [0, 9, 18, 27, 36, 45, 49]


def test_the_first_steps_and_the_last_are_computed_as_asked():
    method = TeaCache(0.4, CONSTANT, compares="time", warmup=5, last=False)
    assert computed_steps(method) == [*range(5), *range(7, 50, 3)]


def test_the_time_embedding_decides_where_it_is_compared():
    """It is halved: a change of 1/2. The modulated input is another at every call and never asked for."""
    method, streams = TeaCache(0.6, (0, 0, 0, 1, 0), compares="time", last=False), Streams(torch.ones(1, 1, 1))
    state, changes = method.new_state(), [1.0, 0.5, 0.25, 0.25, 0.125]
    probes = [Probe(streams, streams, lambda: pytest.fail("asked"), torch.full((2, 6, 4), time)) for time in changes]
    decisions = [method.computes(step, state, probe) for step, probe in zip(SCHEDULE.steps(), probes)]
    assert decisions == [True, False, True, False, False]


def test_reaching_the_threshold_exactly_computes():
    assert computed_steps(TeaCache(0.5, (0, 0, 0, 0, 0.25))) == [*range(0, 49, 2), 49]


def test_fluxs_quartic_has_the_floor_that_fixes_its_schedules():
    coefficients = yaml.safe_load((CONF / "preset" / "flux-teacache.yaml").read_text())["coefficients"]
    value = sum(c * 0.0528**power for c, power in zip(coefficients, range(4, -1, -1)))
    assert value == pytest.approx(0.1803, abs=1e-4)


def test_one_state_for_both_branches_serves_the_second_from_the_first(random_qwen):
    """Both branches of a step have the same image tokens: the second sees no change and is never computed."""
    method = TeaCache(1e-9, (0, 0, 0, 1, 0), shared=True)
    with attach(random_qwen.pipe, adapter_for(random_qwen.pipe), method) as session:
        random_qwen.run()
    stack = "blocks:transformer_blocks"
    assert session.run.ledger.works[0][stack] > 0
    assert session.run.ledger.works[1][stack] == 0
    assert session.run.nfe == session.run.schedule.num_steps / 2


def qwen_image(**settings: Any) -> TeaCache:
    content = compose_config(["model=qwen_image", "method=teacache"]).method
    return TeaCache(coefficients=content["coefficients"], **settings)


def test_the_shared_preset_of_qwen_image_switches_guidance_off(random_qwen):
    """The FLOPs of the paper's row: every conditional call is computed and serves the unconditional one, so that both
    give the same velocity, and their difference, which guidance scales, is nothing.
    """
    latents, session = attached(random_qwen, qwen_image(threshold=0.4, shared=True))
    steps, blocks = session.run.schedule.num_steps, len(random_qwen.pipe.transformer.transformer_blocks)
    assert [work["blocks:transformer_blocks"] for work in session.run.ledger.works] == [steps * blocks, 0]
    torch.testing.assert_close(latents, random_qwen.run(true_cfg_scale=1.0), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(latents, random_qwen.run(), rtol=1e-2, atol=1e-2)


def test_the_preset_for_each_branch_treats_both_alike(random_qwen):
    _, session = attached(random_qwen, qwen_image(threshold=0.4))
    conditional, unconditional = session.run.ledger.works
    assert conditional == unconditional
    assert 0 < session.run.nfe < session.run.schedule.num_steps


@pytest.mark.parametrize("threshold", [0.2643, 0.4445])
def test_qwen_images_first_set_computes_every_other_shared_call_whatever_changes(threshold):
    """Its quartic is 0.2642 where nothing changes, and at least 0.1803 elsewhere."""
    method, entry = qwen_image(threshold=threshold, shared=True), Streams(torch.ones(1, 1, 1))
    state, generator = method.new_state(), torch.Generator().manual_seed(0)
    for step in SCHEDULE.steps():
        modulated = 1 + torch.rand(1, 1, 1, generator=generator)
        probe = Probe(entry, entry, lambda modulated=modulated: modulated)
        assert [method.computes(step, state, probe) for _ in ("conditional", "unconditional")] == [True, False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": -1}, "threshold"),
        ({"coefficients": (1, 2)}, "the five of a quartic"),
        ({"compares": "output"}, "compares must be one of input, time, got 'output'"),
        ({"warmup": 0}, "warmup must be a whole number >= 1, got 0"),
        ({"warmup": 5, "shared": True}, "warmup=5 has no effect with shared=true"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TeaCache(**{"threshold": 1.0, "coefficients": CONSTANT} | settings)

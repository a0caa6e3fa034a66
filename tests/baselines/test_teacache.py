"""TeaCache's decisions: the expected steps for a constant change, and its boundary."""

import pytest
import torch
import yaml

from baselines.teacache import TeaCache
from experiments.compose import CONF
from meancache.adapters import adapter_for
from meancache.protocols import Probe, Streams
from meancache.schedule import Schedule
from meancache.session import attach

SCHEDULE = Schedule([1 - i / 50 for i in range(51)])
CONSTANT = (0.0, 0.0, 0.0, 0.0, 0.1804)  # the lowest value of FLUX's quartic, whatever the change


def computed_steps(method: TeaCache) -> list[int]:
    state, computed = method.new_state(), []
    probe = Probe(Streams(torch.ones(1, 1, 1)), Streams(torch.ones(1, 1, 1)), lambda: torch.ones(1, 1, 1))
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


def test_reaching_the_threshold_exactly_computes():
    assert computed_steps(TeaCache(0.5, (0, 0, 0, 0, 0.25))) == [*range(0, 49, 2), 49]


def test_fluxs_quartic_has_the_floor_that_fixes_its_schedules():
    coefficients = yaml.safe_load((CONF / "calibration" / "flux-teacache.yaml").read_text())["coefficients"]
    value = sum(c * 0.0528**power for c, power in zip(coefficients, range(4, -1, -1)))
    assert value == pytest.approx(0.1803, abs=1e-4)


def test_one_state_for_both_branches_serves_the_second_from_the_first(random_qwen):
    """Both branches of a step have the same image tokens: the second sees no change and is never computed."""
    method = TeaCache(1e-9, (0, 0, 0, 1, 0), shared=True)
    with attach(random_qwen.pipe, adapter_for(random_qwen.pipe), method) as session:
        random_qwen.run()
    stack = "blocks:transformer_blocks"
    assert session.run.works[0][stack] > 0
    assert session.run.works[1][stack] == 0
    assert session.run.nfe == session.run.schedule.num_steps / 2


@pytest.mark.parametrize(
    ("threshold", "coefficients", "message"), [(-1, CONSTANT, "threshold"), (1, (1, 2), "the five of a quartic")]
)
def test_what_makes_no_sense_is_refused(threshold, coefficients, message):
    with pytest.raises(ValueError, match=message):
        TeaCache(threshold, coefficients)

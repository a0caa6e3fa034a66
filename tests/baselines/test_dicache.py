"""DiCache's decisions and its extrapolation, by hand."""

import pytest
import torch

from baselines.dicache import DiCache
from meancache.models import adapter_for
from meancache.protocols import Probe, Streams
from meancache.schedule import Schedule
from meancache.session import attach

SCHEDULE = Schedule([1 - i / 50 for i in range(51)])


def probe(entry: float, here: float) -> Probe:
    return Probe(Streams(torch.tensor([[[entry]]])), Streams(torch.tensor([[[here]]])), lambda: torch.empty(0))


def computed_steps(method: DiCache, output_of) -> list[int]:
    """Computed steps when the probe sees ``output_of(step index)`` and its input never changes."""
    state, computed = method.new_state(), []
    for step in SCHEDULE.steps():
        seen = probe(1.0, output_of(step.index))
        if method.computes(step, state, seen):
            method.observe(step, state, seen, Streams(torch.tensor([[[5.0]]])))
            computed.append(step.index)
        else:
            method.predict(step, state, seen)
    return computed


@pytest.mark.parametrize(
    ("variant", "expected"),
    [("flux", [*range(11), 49]), ("hunyuan_video", [*range(10)]), ("wan", [*range(10)])],
)
def test_a_probe_that_never_changes_leaves_the_first_steps_and_the_last(variant, expected):
    assert computed_steps(DiCache(0.8, variant=variant), lambda index: 2.0) == expected


def test_changes_add_up_to_the_threshold():
    growing = [2.0**index for index in range(50)]  # each change is as much as there was
    method = DiCache(2.0, warmup_share=0.0)
    assert computed_steps(method, growing.__getitem__) == [*range(0, 50, 2), 49]
    method = DiCache(2.0, warmup_share=0.0, variant="hunyuan_video")
    assert computed_steps(method, growing.__getitem__) == [*range(0, 50, 3)]


@pytest.mark.parametrize(("dtype", "computed"), [(torch.float32, [False, False, True]), (torch.bfloat16, [False] * 3)])
def test_changes_add_up_in_the_dtype_of_the_hidden_states(dtype, computed):
    """As upstream. A sum of 2 does not grow by 1 / 128 in bfloat16, which has 2.015625 next, and 2.02 is that there."""
    method, now = DiCache(2.02), Streams(torch.full((1, 1, 1), 1 + 1 / 128, dtype=dtype))
    state = method.new_state()
    state.accumulated, found = 2.0, []
    for index in range(20, 23):
        state.probed = torch.ones(1, 1, 1, dtype=dtype)
        found.append(method.computes(SCHEDULE.step(index), state, Probe(now, now, lambda: torch.empty(0))))
    assert found == computed


@pytest.mark.parametrize(("here", "residual"), [(3.25, 12.5), (2.5, 10.0), (9.0, 15.0)])
def test_the_probe_says_how_far_to_extrapolate_and_no_further_than_half(here, residual):
    """Residuals 0 and 10 at probe residuals 1 and 2: a probe residual p stands for 10 (p - 1), kept within 10 to 15."""
    method, state = DiCache(0.8), DiCache(0.8).new_state()
    for step, (probed, out) in zip(SCHEDULE.steps(), [(2.0, 1.0), (3.0, 11.0)]):
        method.observe(step, state, probe(1.0, probed), Streams(torch.tensor([[[out]]])))
    predicted = method.predict(SCHEDULE.step(20), state, probe(1.0, here))
    assert predicted.hidden.item() == pytest.approx(1.0 + residual)


def test_a_call_that_starts_over_gives_the_same_picture_and_costs_the_probe_again(random_flux):
    pictures, blocks = [], []
    for resumes in (True, False):
        method = DiCache(0.0, warmup_share=0.0, resumes=resumes)
        with attach(random_flux.pipe, adapter_for(random_flux.pipe), method) as session:
            pictures.append(random_flux.run())
        blocks.append(session.run.ledger.works[0]["blocks:transformer_blocks"])
    assert torch.equal(*pictures)
    assert blocks[1] - blocks[0] == session.run.schedule.num_steps - 2  # the first and the last are not probed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": -1.0}, "threshold must be a number >= 0"),
        ({"threshold": 1.0, "probe_depth": 0}, "probe_depth must be a whole number >= 1"),
        ({"threshold": 1.0, "variant": "sd"}, "variant must be one of flux, hunyuan_video, wan"),
        ({"threshold": 1.0, "error": "mse"}, "error must be one of delta_y, delta_minus"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DiCache(**settings)

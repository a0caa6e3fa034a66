"""DBCache and First-Block Cache: decisions by hand and as published, forecasts, equality with cache-dit."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from baselines.dbcache import DBCache
from baselines.fbcache import FBCache
from meancache.protocols import Probe, Streams
from meancache.schedule import Schedule
from tests.pipelines import attached, random_pipeline_of


def probe(change: float, here: float = 1.0) -> Probe:
    """The first blocks added ``change`` everywhere, so relative changes can be read off."""
    return Probe(Streams(torch.full((1, 2, 2), here - change)), Streams(torch.full((1, 2, 2), here)), lambda: None)


def pattern(method: Any, num_steps: int = 50, changes: Sequence[float] | None = None) -> str:
    """F for each computed step and a dot for each skipped one, if the first blocks change the stream like this."""
    state, marks = method.new_state(), ""
    for step in Schedule([1 - i / num_steps for i in range(num_steps + 1)]).steps():
        seen = probe(changes[step.index] if changes else 1.0)
        computed = method.computes(step, state, seen)
        marks += "F" if computed else "."
        if computed:
            method.observe(step, state, seen, Streams(torch.zeros(1, 2, 2)))
    return marks


def test_a_threshold_of_one_or_more_skips_all_after_the_warmup_unseen():
    wild = [float(10**index) for index in range(12)]
    assert pattern(DBCache(1.5), 12, wild) == "FFFFFFFF...."
    assert pattern(DBCache(1.0, warmup=0), 12, wild) == "F..........."
    assert pattern(DBCache(0.99, warmup=0), 12, wild) == "FFFFFFFFFFFF"
    assert pattern(DBCache(0.0), 12) == pattern(DBCache(-1.0), 12) == "F" * 12


@pytest.mark.parametrize(
    ("warmup", "interval", "limit", "count"),  # cache-dit's published FLOPs imply these whole numbers of full steps
    [(8, 4, 10, 6), (8, 2, 8, 8), (8, 2, 10, 7), (16, 4, 8, 8), (4, 1, 4, 13), (4, 1, 2, 19), (8, 1, 2, 22)],
)
@pytest.mark.parametrize("loose", [True, False])
def test_computed_steps_are_as_many_as_published(warmup, interval, limit, count, loose):
    method = DBCache(
        1.5,
        warmup=warmup,
        warmup_interval=interval,
        max_continuous_cached_steps=limit,
        loose_streak=loose,
    )
    assert pattern(method).count("F") == count


def test_before_1_5_3_a_warmup_step_did_not_end_a_streak_and_a_limit_of_one_gave_runs_of_two():
    settings = {"warmup": 8, "warmup_interval": 4, "max_continuous_cached_steps": 10}
    loose = DBCache(1.5, **settings, loose_streak=True)
    assert pattern(loose) == "F...F........F..........F..........F..........F..."
    assert pattern(DBCache(1.5, **settings)) == "F...F..........F..........F..........F..........F."
    one = {"max_continuous_cached_steps": 1}
    assert pattern(DBCache(1.5, **one, loose_streak=True), 18) == "FFFFFFFF.F..F..F.."
    assert pattern(DBCache(1.5, **one), 18) == "FFFFFFFF.F.F.F.F.F"


def test_changes_are_measured_from_the_last_computed_call_and_an_equal_one_computes():
    method = DBCache(0.25, warmup=1)
    #        base  +10 %  +24 %  +25 %: computed, new base   +20 %  +25 % (1.5625)
    changes = [1.0, 1.1, 1.24, 1.25, 1.5, 1.5625]
    assert pattern(method, 6, changes) == "F..F.F"
    assert pattern(FBCache(0.25), 6, changes) == "F...F."  # in diffusers' rule an equal change skips
    assert pattern(FBCache(0.2499), 6, changes) == "F..F.F"
    assert pattern(FBCache(1.5), 3, [1, 2.4, 3.6]) == "F.F"  # and a threshold above 1 is a threshold


def test_the_total_of_skipped_steps_is_bounded():
    assert pattern(DBCache(1.5, warmup=2, max_cached_steps=3), 8) == "FF...FFF"


def test_masks_come_before_limits_and_threshold():
    jumps = [1.0, 9.0] * 6
    mask = "110010010001"
    assert pattern(DBCache(0.1, mask=mask, mask_policy="static", max_cached_steps=1), 12, jumps) == "FF..F..F...F"
    assert pattern(DBCache(1.5, mask=mask), 12, jumps) == "FF..F..F...F"
    assert pattern(DBCache(0.1, mask=mask), 12, jumps) == "F" * 12
    assert pattern(DBCache(1.5, mask=mask, max_cached_steps=3), 12) == "FF..F.FFFFFF"
    assert DBCache(1.5, mask=int(mask)).mask == mask  # as a command line gives it


def test_a_mask_cuts_the_warmup_to_its_leading_ones():
    assert [DBCache(1.5, mask="11100000000").warms_up(index) for index in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_the_forecast_is_exact_for_polynomials_of_its_order(order):
    """Backward differences at unit gaps: D_0 + D_1 k + ... with the warm-up's last computed steps."""
    method, value = DBCache(1.5, taylor_order=order), lambda index: (1 + 0.5 * index) if order else 3.0
    state = method.new_state()
    for step in Schedule([1 - i / 12 for i in range(13)]).steps():
        if method.computes(step, state, probe(1.0)):
            method.observe(step, state, probe(1.0), Streams(torch.full((1, 2, 2), 1.0 + value(step.index))))
        else:
            predicted = method.predict(step, state, probe(1.0)).hidden
            torch.testing.assert_close(predicted, torch.full((1, 2, 2), 1.0 + value(step.index)))


def test_differences_begin_at_the_fourth_step():
    method = DBCache(1.5, taylor_order=4)
    state, orders = method.new_state(), []
    for step in list(Schedule([1 - i / 12 for i in range(13)]).steps())[:8]:
        method.computes(step, state, probe(1.0))
        method.observe(step, state, probe(1.0), Streams(torch.ones(1, 2, 2)))
        orders.append(len(state.hidden) - 1)
    assert orders == [0, 0, 0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fn": 0}, "fn must be a whole number >= 1, got 0"),
        ({"threshold": "high"}, "threshold must be a number, got 'high'"),
        ({"mask": "0110"}, "the first of them 1, got '0110'"),
        ({"mask_policy": "lazy"}, "dynamic or static, got 'lazy'"),
        ({"max_cached_steps": -2}, "max_cached_steps must be a whole number >= -1, got -2"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DBCache(**{"threshold": 0.1} | settings)


def test_a_mask_of_another_length_is_refused(random_flux):
    with pytest.raises(ValueError, match="the mask has 5 digits, but the run has 12 steps"):
        attached(random_flux, DBCache(1.5, fn=1, mask="11010"))


@pytest.mark.parametrize("method", [DBCache(0.0, fn=1), FBCache(1e-9)], ids=lambda method: type(method).__name__)
def test_never_skipping_is_bit_identical_and_one_decides_for_all_of_a_batch(random_pipeline, method):
    latents, session = attached(random_pipeline, method)
    assert torch.equal(latents, random_pipeline.run())
    assert session.run.nfe == 12


def test_last_blocks_run_at_every_step_and_lists_may_decide_for_themselves(random_pipeline):
    joined, session = attached(random_pipeline, DBCache(1.5, fn=1, bn=1, warmup=4))
    stacks = session.adapter.stacks
    lists = [len(getattr(random_pipeline.pipe.transformer, stack.name)) for stack in stacks]
    run = session.run
    ran = sum(sum(_blocks(work).values()) for work in run.ledger.works)
    assert run.nfe == 4
    assert ran == run.num_branches * (4 * sum(lists) + 8 * 2)
    assert torch.equal(attached(random_pipeline, DBCache(1.5, fn=1, bn=1, warmup=4))[0], joined)
    if len(lists) == 2:
        apart, session = attached(random_pipeline, DBCache(1.5, fn=1, fused=False, warmup=4))
        assert session.run.nfe == 4
        assert sum(_blocks(session.run.ledger.works[0]).values()) == 4 * sum(lists) + 8 * 2
        assert not torch.equal(apart, joined)


SETTINGS = [
    {"threshold": 1.5, "warmup": 4},
    {"threshold": 0.3, "warmup": 2},
    {"threshold": 0.4, "warmup": 3, "bn": 1},
    {"threshold": 1.5, "warmup": 6, "warmup_interval": 2, "max_continuous_cached_steps": 2},
    {"threshold": 1.5, "warmup": 2, "max_continuous_cached_steps": 1, "max_cached_steps": 4},
    {"threshold": 0.3, "warmup": 3, "mask": "111000100010000100011111", "mask_policy": "dynamic"},
    {"threshold": 0.3, "warmup": 3, "mask": "111000100010000100011111", "mask_policy": "static"},
    {"threshold": 1.5, "warmup": 8, "taylor_order": 4, "max_continuous_cached_steps": 3},
    {"threshold": 0.3, "warmup": 4, "taylor_order": 1, "bn": 1},
]
THEIRS = {"fn": "Fn_compute_blocks", "bn": "Bn_compute_blocks", "threshold": "residual_diff_threshold"} | {
    "warmup": "max_warmup_steps",
    "mask": "steps_computation_mask",
    "mask_policy": "steps_computation_policy",
}


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: " ".join(f"{k}={v}" for k, v in settings.items()))
@pytest.mark.parametrize("family", ["flux", "qwen_image", "hunyuan_video"])
def test_decisions_and_latents_equal_cache_dit(family, settings):
    """In this version (1.5.3) without exception; what older ones did is ``loose_streak``."""
    pytest.importorskip("cache_dit")
    from peers.cache_dit import CacheDit

    pipeline = random_pipeline_of(family)
    fused = family != "hunyuan_video"
    settings = {"fn": 1} | settings | ({} if fused else {"bn": 0})  # its lists have two blocks each
    theirs = {THEIRS.get(key, key): value for key, value in settings.items() if key != "taylor_order"}
    if "mask" in settings:
        theirs["steps_computation_mask"] = [int(digit) for digit in settings["mask"]]
    ours, session = attached(pipeline, DBCache(**settings, fused=fused), num_steps=24)
    latents, other = attached(pipeline, CacheDit(theirs, settings.get("taylor_order", 0)), num_steps=24)
    assert [_blocks(work) for work in session.run.ledger.works] == [_blocks(work) for work in other.run.ledger.works]
    assert session.run.nfe < 24
    torch.testing.assert_close(ours, latents, rtol=1e-5, atol=1e-6)


def _blocks(work: Any) -> dict[str, int]:
    return {key: value for key, value in work.items() if key.startswith("blocks")}

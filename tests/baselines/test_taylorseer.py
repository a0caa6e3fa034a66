"""TaylorSeer and its Lite form: full steps, factor tables and predictions against values worked out by hand."""

import pytest
import torch

from baselines.taylor import extrapolated, updated
from baselines.taylorseer import TaylorSeer
from baselines.taylorseer_lite import TaylorSeerLite
from meancache.method import MeanCache
from meancache.plan import Plan
from meancache.protocols import Feature
from meancache.schedule import Schedule
from meancache.session import attach
from meancache.trajectory import Entry, Trajectory
from tests.pipelines import FAMILIES, attached, random_pipeline_of, schedule_of

FIFTY = Schedule([1 - index / 50 for index in range(51)])
MLP = Feature("mlp", "blocks", 0, "ff")


@pytest.mark.parametrize("method", [TaylorSeer, TaylorSeerLite])
@pytest.mark.parametrize(
    ("interval", "warmup", "full"),
    [
        (5, 3, [0, 1, 2, 7, 12, 17, 22, 27, 32, 37, 42, 47]),
        (6, 3, [0, 1, 2, 8, 14, 20, 26, 32, 38, 44]),
        (7, 3, [0, 1, 2, 9, 16, 23, 30, 37, 44]),
        (20, 3, [0, 1, 2, 22, 42]),
        (5, 1, [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]),
        (7, 1, [0, 7, 14, 21, 28, 35, 42, 49]),
        (1, 1, list(range(50))),
    ],
)
def test_full_steps_are_those_of_the_released_code(method, interval, warmup, full):
    chosen = method(interval=interval, warmup=warmup)
    arguments = (None,) if isinstance(chosen, TaylorSeer) else ()
    runs = chosen.full if isinstance(chosen, TaylorSeer) else chosen.computes
    assert [step.index for step in FIFTY.steps() if runs(step, *arguments)] == full


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": 0}, "interval must be a whole number >= 1, got 0"),
        ({"interval": 5, "warmup": 0}, "warmup must be a whole number >= 1, got 0"),
        ({"interval": 5, "order": -1}, "order must be a whole number >= 0, got -1"),
        ({"interval": 2.5}, "interval must be a whole number >= 1, got 2.5"),
    ],
)
@pytest.mark.parametrize("method", [TaylorSeer, TaylorSeerLite])
def test_bad_values_are_named(method, arguments, message):
    with pytest.raises(ValueError, match=message):
        method(**arguments)


def test_factors_by_hand():
    """Features 1, 3, 9 at steps 0, 2, 4."""
    values = torch.tensor([1.0, 3.0, 9.0])
    table = updated([], values[0], 1, 2)
    assert table == [1]
    table = updated(table, values[1], 2, 2)
    assert table == [3, 1]  # (3 - 1) / 2
    table = updated(table, values[2], 2, 2)
    assert table == [9, 3, 1]  # (9 - 3) / 2, (3 - 1) / 2
    assert extrapolated(table, 2) == 9 + 3 * 2 + 1 * 4 / 2
    assert updated(table, values[0], 2, 0) == [1]


def outputs(method, function, num_steps=20):
    """What the method gives for a module whose output at step i is ``function(i)``, step by step."""
    state, given = method.new_features(0, None), {}
    for step in Schedule([1 - index / num_steps for index in range(num_steps + 1)]).steps():
        if method.full(step, None):
            method.keep(step, MLP, state, function(step.index))
        else:
            given[step.index] = method.recall(step, MLP, state, None, None)
    return given


def test_a_linear_feature_is_exact_once_a_difference_exists():
    given = outputs(TaylorSeer(interval=4, warmup=3, order=1), lambda i: torch.tensor([3.0 - 0.5 * i]))
    assert {i: value.item() for i, value in given.items()} == {i: 3.0 - 0.5 * i for i in given}
    reused = outputs(TaylorSeer(interval=4, warmup=1, order=1), lambda i: torch.tensor([3.0 - 0.5 * i]))
    assert [reused[i].item() for i in (1, 2, 3)] == [3.0] * 3  # one full step so far: its output as it is
    assert [reused[i].item() for i in (5, 6, 7)] == [0.5, 0.0, -0.5]


def test_backward_differences_of_a_quadratic_are_not_its_derivatives():
    """At gap h the table of i^2 is (i^2, 2i - h, 2): one gap later the prediction falls short by h^2."""
    given = outputs(TaylorSeer(interval=4, warmup=1, order=2), lambda i: torch.tensor([float(i * i)]))
    for i in (9, 10, 11, 13, 14, 15):
        base, x = i // 4 * 4, i % 4
        assert given[i].item() == base**2 + (2 * base - 4) * x + x**2
        assert i**2 - given[i].item() == 4 * x


def test_order_two_is_exact_for_a_table_of_true_derivatives():
    assert extrapolated([torch.tensor(25.0), torch.tensor(10.0), torch.tensor(2.0)], 3) == 8**2


def test_warm_up_steps_keep_no_differences():
    """E = 3: order 1 from step 2 on, order 2 from step 8; the latest gap serves all orders."""
    method, sizes = TaylorSeer(interval=6, warmup=3, order=2), {}
    state = method.new_features(0, None)
    for step in FIFTY.steps():
        if method.full(step, None):
            method.keep(step, MLP, state, torch.tensor([float(step.index**2)]))
            sizes[step.index] = [factor.item() for factor in state.by_module.get("ff", [[]])[0]]
    assert sizes[0] == []  # nothing will read it: differences begin between steps 1 and 2
    assert sizes[1] == [1]
    assert sizes[2] == [4, 3]
    assert sizes[8] == pytest.approx([64, 60 / 6, (10 - 3) / 6])
    assert len(sizes[14]) == 3


def test_order_zero_reuses_and_pairs_stay_pairs():
    method = TaylorSeer(interval=3, warmup=1, order=0)
    state, attention = method.new_features(0, None), Feature("attention", "blocks", 0, "attn")
    pair = (torch.ones(1, 2, 3), torch.zeros(1, 1, 3))
    method.keep(FIFTY.step(0), attention, state, pair)
    assert method.recall(FIFTY.step(1), attention, state, None, None) == pair


def test_every_step_full_is_bit_identical(random_pipeline):
    assert torch.equal(attached(random_pipeline, TaylorSeer(interval=1, warmup=1))[0], random_pipeline.run())
    assert torch.equal(attached(random_pipeline, TaylorSeerLite(interval=1, warmup=1))[0], random_pipeline.run())


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("method", [TaylorSeer, TaylorSeerLite])
def test_runs_repeat_and_nfe_is_the_number_of_full_steps(random_pipeline, method, order):
    chosen = method(interval=3, warmup=2, order=order)  # of 12 steps 0, 1, 4, 7, 10
    first, session = attached(random_pipeline, chosen)
    assert session.run.nfe == 5
    assert first.isfinite().all()
    with attach(random_pipeline.pipe, session.adapter, chosen):
        random_pipeline.run(7)
        assert torch.equal(random_pipeline.run(), first)
    assert not torch.equal(first, random_pipeline.run())


def test_predicted_steps_run_modulations_alone():
    _, session = attached(random_pipeline_of("flux"), TaylorSeer(interval=3, warmup=2))
    (work,) = session.run.ledger.works
    assert work == {
        "embed_out": 12,
        "blocks:transformer_blocks": 10,
        "modulations:transformer_blocks": 14,
        "blocks:single_transformer_blocks": 10,
        "modulations:single_transformer_blocks": 14,
    }


@pytest.mark.parametrize("family", ["flux", "hunyuan_video"])
def test_nothing_is_kept_of_attention_in_fused_blocks(family):
    _, session = attached(random_pipeline_of(family), TaylorSeer(interval=3, warmup=1, order=2), keep=True)
    kept = {frozenset(state.by_module) for state in session.run.states.values()}
    assert kept == {frozenset({"attn", "ff", "ff_context"}), frozenset({"proj_out"})}
    assert all(len(table) == 3 for s in session.run.states.values() for t in s.by_module.values() for table in t)


@pytest.mark.parametrize("family", FAMILIES)
def test_branches_have_tables_of_their_own(family):
    pipeline = random_pipeline_of(family)
    _, session = attached(pipeline, TaylorSeer(interval=3, warmup=1), keep=True)
    num_blocks = len(session.adapter.blocks(pipeline.pipe.transformer))
    assert len(session.run.states) == num_blocks * FAMILIES[family].num_branches


def test_a_batch_of_two_is_two_runs():
    pipeline, method = random_pipeline_of("flux"), TaylorSeer(interval=4, order=2, warmup=2)
    both, _ = attached(pipeline, method, 1, 2)
    for row, seed in enumerate((1, 2)):
        torch.testing.assert_close(both[row : row + 1], attached(pipeline, method, seed)[0], atol=1e-5, rtol=1e-4)


# --- Lite


def velocities(method, function, num_steps=20):
    """The velocities of a run in which the model gives ``function(i)`` at step i."""
    trajectory, given = Trajectory(method.history), []
    latents = torch.zeros(1, 1)
    for step in Schedule([1 - index / num_steps for index in range(num_steps + 1)]).steps():
        computes = method.computes(step)
        velocity = method.velocity(step, latents, function(step.index) if computes else None, trajectory)
        trajectory.append(Entry(step.index, step.sigma, latents, velocity, velocity, computes))
        given.append(velocity)
    return given


@pytest.mark.parametrize(("interval", "warmup"), [(4, 1), (4, 3), (2, 5), (7, 2)])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_lite_predicts_what_the_feature_form_does(interval, warmup, order):
    settings = {"interval": interval, "warmup": warmup, "order": order}
    torch.manual_seed(0)
    values = torch.randn(20, 1, 1)
    expected = outputs(TaylorSeer(**settings), lambda i: values[i])
    given = velocities(TaylorSeerLite(**settings), lambda i: values[i])
    for index, velocity in enumerate(given):
        torch.testing.assert_close(velocity, expected.get(index, values[index]))


def test_lite_is_exact_for_a_linear_velocity():
    given = velocities(TaylorSeerLite(interval=5, warmup=2, order=1), lambda i: torch.full((1, 1), 2.0 + i))
    assert [velocity.item() for velocity in given] == [2.0 + i for i in range(20)]


def test_lite_of_order_zero_is_a_hold(random_pipeline):
    schedule = schedule_of(random_pipeline)
    hold = MeanCache(Plan("random", schedule, (0, 1, 4, 7, 10), (1,) * 5, "hold"))
    lite = TaylorSeerLite(interval=3, warmup=2, order=0)
    assert torch.equal(attached(random_pipeline, lite)[0], attached(random_pipeline, hold)[0])


def test_lite_keeps_the_velocity_dtype():
    method = TaylorSeerLite(interval=3, warmup=1, order=1)
    given = velocities(method, lambda i: torch.full((1, 1), 1.0 + i, dtype=torch.bfloat16))
    assert {velocity.dtype for velocity in given} == {torch.bfloat16}

"""Eqs. (5)-(11) where the answer is known in closed form."""

from itertools import pairwise

import pytest
import torch

from meancache.method import MeanCache
from meancache.plan import Plan
from meancache.schedule import Schedule
from meancache.stability import edge_costs
from meancache.trajectory import Entry, FullTrajectory, Trajectory
from meancache.velocity import average_of_steps, average_velocity, jvp, mean_velocity

SIGMAS = [1.0, 0.93, 0.84, 0.7, 0.61, 0.5, 0.3, 0.22, 0.1, 0.0]


def exact(sigma: float, slope: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """z and v of the flow whose velocity is start + slope * sigma, from z(1) = 0."""
    return start * (sigma - 1) + slope * (sigma**2 - 1) / 2, start + slope * sigma


def follow(method: MeanCache, velocity_of_step, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Euler run of a method against a velocity that depends on the step alone; the velocities applied."""
    trajectory, z, applied = Trajectory(method.history), torch.zeros(2, 3, dtype=dtype), []
    for step in method.plan.schedule.steps():
        computed = velocity_of_step(step) if method.computes(step) else None
        v = method.velocity(step, z, computed, trajectory)
        trajectory.append(
            Entry(step.index, step.sigma, z, v if computed is None else computed, v, computed is not None)
        )
        z = z + step.dsigma * v
        applied.append(v)
    return applied


def test_average_velocity_is_displacement_over_time():
    assert average_velocity(torch.tensor([1.0]), torch.tensor([4.0]), 0.9, 0.4).item() == pytest.approx(-6.0)


def test_estimate_is_exact_for_a_velocity_linear_in_sigma():
    slope, start = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    (z_r, v_r), (z_t, v_t), (z_s, _) = (exact(sigma, slope, start) for sigma in (0.9, 0.7, 0.2))
    estimate = jvp(average_velocity(z_r, z_t, 0.9, 0.7), v_r, 0.7, 0.9)
    torch.testing.assert_close(estimate, slope / 2)  # the average velocity changes half as fast as the instantaneous
    torch.testing.assert_close(mean_velocity(v_t, estimate, 0.7, 0.2), average_velocity(z_t, z_s, 0.7, 0.2))


def test_both_forms_of_the_average_velocity_agree_on_euler_steps():
    velocities, z = list(torch.randn(9, 2, 3, dtype=torch.float64)), torch.zeros(2, 3, dtype=torch.float64)
    for v, (before, after) in zip(velocities, pairwise(SIGMAS)):
        z = z + (after - before) * v
    expected = average_velocity(torch.zeros_like(z), z, 1.0, 0.0)
    torch.testing.assert_close(average_of_steps(velocities, SIGMAS), expected)


@pytest.mark.parametrize("span", [1, 2, 3, 4, 5])
def test_a_constant_velocity_stays_itself_in_bfloat16(span):
    """Differences of bfloat16 latents are rounding noise: neither rule nor map may read them."""
    schedule = Schedule([1 - i / 50 for i in range(51)])
    constant = torch.randn(2, 3).bfloat16()
    nodes, orders = tuple(range(10)), (1,) * 9 + (span,)
    for v in follow(MeanCache(Plan("", schedule, nodes, orders, "paper")), lambda step: constant, torch.bfloat16):
        torch.testing.assert_close(v, constant)
    costs = edge_costs(FullTrajectory(schedule, torch.empty(51, 2, 3), constant.expand(50, 2, 3)), (1, 2, 3, 4, 5))
    assert costs[costs.isfinite()].max() < 1e-3


def test_corrections_are_cast_to_the_velocity():
    velocity = torch.ones(1, dtype=torch.bfloat16)
    estimate = jvp(torch.tensor([1.01]), velocity, 0.9, 1.0)
    assert estimate.dtype == torch.float32
    assert mean_velocity(velocity, estimate, 0.9, 0.5).dtype == torch.bfloat16


@pytest.mark.parametrize("rule", ["paper", "release", "hold"])
@pytest.mark.parametrize("span", [1, 2, 3, 4])
def test_a_constant_velocity_stays_itself(rule, span):
    constant = torch.randn(2, 3, dtype=torch.float64)
    plan = Plan("", Schedule(SIGMAS), (0, 1, 2, 3, 4), (1, 1, 1, 1, span), rule)
    for v in follow(MeanCache(plan), lambda step: constant):
        torch.testing.assert_close(v, constant)


@pytest.mark.parametrize("span", [2, 3, 4, 5])
def test_release_rule_on_a_uniform_grid_has_its_closed_form(span):
    """v_i = v_{i-1} + (mean(v_{i-K} .. v_{i-1}) - v_{i-K}) / K, the grid length cancels."""
    schedule = Schedule([1 - i / 12 for i in range(13)])
    velocities = torch.randn(12, 2, 3, dtype=torch.float64)
    plan = Plan("", schedule, (0, 1, 2, 3, 4, 5), (1, 1, 1, 1, 1, span), "release")
    applied = follow(MeanCache(plan), lambda step: velocities[step.index])
    for i in range(6, 12):
        window = torch.stack(applied[i - span : i])
        torch.testing.assert_close(applied[i], applied[i - 1] + (window.mean(0) - window[0]) / span)


def test_paper_rule_moves_over_the_edge_with_one_average_velocity():
    velocities = torch.randn(9, 2, 3, dtype=torch.float64)
    plan = Plan("", Schedule(SIGMAS), (0, 1, 2, 3), (1, 1, 1, 2), "paper")
    applied = follow(MeanCache(plan), lambda step: velocities[step.index])
    z = [torch.zeros(2, 3, dtype=torch.float64)]
    for i in range(3):
        z.append(z[-1] + (SIGMAS[i + 1] - SIGMAS[i]) * velocities[i])
    t, s, r = SIGMAS[3], SIGMAS[9], SIGMAS[1]
    expected = velocities[3] + (s - t) * (z[3] - z[1] - (t - r) * velocities[1]) / (t - r) ** 2  # Eq. (10)
    for i in range(3, 9):
        torch.testing.assert_close(applied[i], expected)


def test_the_jvp_is_zero_over_held_steps_and_live_spans_say_so():
    """Eq. (9) over nothing but one held velocity is zero: see Plan.live_spans."""
    nodes, orders = (0, 1, 2, 3, 6, 7), (1, 1, 1, 2, 2, 2)
    plan = Plan("", Schedule(SIGMAS), nodes, orders, "paper")
    assert plan.live_spans() == (1, 1, 1, 2, 1, 2)
    velocities = torch.randn(9, 2, 3, dtype=torch.float64)
    applied = follow(MeanCache(plan), lambda step: velocities[step.index])
    corrected = [not torch.allclose(applied[node], velocities[node], atol=1e-9) for node in nodes]
    assert corrected == [order > 1 for order in plan.live_spans()]
    hold = Plan("", Schedule(SIGMAS), (0, 3, 6), (1, 2, 2), "paper")
    assert hold.live_spans() == (1, 1, 1)


@pytest.mark.parametrize("rule", ["paper", "release", "hold"])
def test_span_of_one_is_an_exact_hold_in_bfloat16(rule):
    plan = Plan("", Schedule(SIGMAS), (0, 3), (1, 1), rule)
    velocity = torch.randn(2, 3).bfloat16()
    assert all(torch.equal(v, velocity) for v in follow(MeanCache(plan), lambda step: velocity, torch.bfloat16))

"""Eqs. (5)-(11) where the answer is known in closed form."""

import pytest
import torch

from meancache.method import MeanCache
from meancache.plan import Plan
from meancache.schedule import Schedule
from meancache.trajectory import Entry, Trajectory
from meancache.velocity import average_velocity, jvp, mean_velocity

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
    estimate = jvp(z_t, z_r, v_r, 0.7, 0.9)
    torch.testing.assert_close(estimate, slope / 2)  # the average velocity changes half as fast as the instantaneous
    torch.testing.assert_close(mean_velocity(v_t, estimate, 0.7, 0.2), average_velocity(z_t, z_s, 0.7, 0.2))


def test_differences_are_taken_in_float32():
    z_r, v_r = torch.zeros(1, dtype=torch.bfloat16), torch.ones(1, dtype=torch.bfloat16)
    z_t = torch.tensor([-0.0101], dtype=torch.bfloat16)
    estimate = jvp(z_t, z_r, v_r, 0.99, 1.0)
    assert estimate.dtype == torch.float32
    assert mean_velocity(v_r, estimate, 0.99, 0.9).dtype == torch.bfloat16


@pytest.mark.parametrize("rule", ["paper", "release", "hold"])
@pytest.mark.parametrize("span", [1, 2, 3, 4])
def test_a_constant_velocity_stays_itself(rule, span):
    constant = torch.randn(2, 3, dtype=torch.float64)
    plan = Plan("", Schedule(SIGMAS), (0, 1, 2, 3, 4), (1, 1, 1, 1, span))
    for v in follow(MeanCache(plan, rule), lambda step: constant):
        torch.testing.assert_close(v, constant)


@pytest.mark.parametrize("span", [2, 3, 4, 5])
def test_release_rule_on_a_uniform_grid_has_its_closed_form(span):
    """v_i = v_{i-1} + (mean(v_{i-K} .. v_{i-1}) - v_{i-K}) / K, the grid length cancels."""
    schedule = Schedule([1 - i / 12 for i in range(13)])
    velocities = torch.randn(12, 2, 3, dtype=torch.float64)
    plan = Plan("", schedule, (0, 1, 2, 3, 4, 5), (1, 1, 1, 1, 1, span))
    applied = follow(MeanCache(plan, "release"), lambda step: velocities[step.index])
    for i in range(6, 12):
        window = torch.stack(applied[i - span : i])
        torch.testing.assert_close(applied[i], applied[i - 1] + (window.mean(0) - window[0]) / span)


def test_paper_rule_moves_over_the_edge_with_one_average_velocity():
    velocities = torch.randn(9, 2, 3, dtype=torch.float64)
    plan = Plan("", Schedule(SIGMAS), (0, 1, 2, 3), (1, 1, 1, 2))
    applied = follow(MeanCache(plan), lambda step: velocities[step.index])
    z = [torch.zeros(2, 3, dtype=torch.float64)]
    for i in range(3):
        z.append(z[-1] + (SIGMAS[i + 1] - SIGMAS[i]) * velocities[i])
    t, s, r = SIGMAS[3], SIGMAS[9], SIGMAS[1]
    expected = velocities[3] + (s - t) * (z[3] - z[1] - (t - r) * velocities[1]) / (t - r) ** 2  # Eq. (10)
    for i in range(3, 9):
        torch.testing.assert_close(applied[i], expected)


def test_span_of_one_is_an_exact_hold_in_bfloat16():
    plan = Plan("", Schedule(SIGMAS), (0, 3), (1, 1))
    velocity = torch.randn(2, 3).bfloat16()
    for rule in ("paper", "release", "hold"):
        assert all(
            torch.equal(v, velocity) for v in follow(MeanCache(plan, rule), lambda step: velocity, torch.bfloat16)
        )


def test_bad_rules_and_spans_are_refused():
    schedule = Schedule(SIGMAS)
    with pytest.raises(ValueError, match="rule must be one of paper, release, hold, got 'magic'"):
        MeanCache(Plan("", schedule, (0,), (1,)), "magic")
    with pytest.raises(ValueError, match="span K = 2 at step 1 reaches before step 0"):
        MeanCache(Plan("", schedule, (0, 1), (1, 2)))
    MeanCache(Plan("", schedule, (0, 1), (1, 2)), "release")

"""The stability map where its values are known, and its shards."""

import pytest
import torch

from meancache.schedule import Schedule
from meancache.stability import StabilityMap, edge_costs
from meancache.trajectory import FullTrajectory

SIGMAS = [1.0, 0.9, 0.7, 0.6, 0.35, 0.2, 0.0]
SPANS = (1, 2, 3)


def euler(velocities: torch.Tensor, sigmas: list[float] = SIGMAS) -> FullTrajectory:
    z = [torch.randn(velocities.shape[1:], dtype=velocities.dtype, generator=torch.Generator().manual_seed(1))]
    for i, v in enumerate(velocities):
        z.append(z[-1] + (sigmas[i + 1] - sigmas[i]) * v)
    return FullTrajectory(Schedule(sigmas), torch.stack(z), velocities)


def random_map(*names: str) -> StabilityMap:
    trajectory = euler(torch.randn(6, len(names), 4, generator=torch.Generator().manual_seed(len(names))))
    return StabilityMap("m", trajectory.schedule, SPANS, names, edge_costs(trajectory, SPANS))


def test_costs_equal_equation_13_edge_by_edge():
    trajectory = euler(torch.randn(6, 2, 3, 4))
    costs, z, v = edge_costs(trajectory, SPANS), trajectory.latents, trajectory.velocities
    for t in range(6):
        for s in range(t + 1, 7):
            gap = SIGMAS[s] - SIGMAS[t]
            for column, span in enumerate(SPANS):
                if span > max(t, 1):
                    assert costs[:, column, t, s].isinf().all()
                    continue
                r = t - span
                back = SIGMAS[t] - SIGMAS[r]
                correction = gap * (z[t] - z[r] - back * v[r]) / back**2 if span > 1 else 0.0
                expected = ((z[s] - z[t]) / gap - v[t] - correction).abs().mean((1, 2))
                torch.testing.assert_close(costs[:, column, t, s], expected, rtol=1e-4, atol=1e-5)


def test_single_steps_cost_nothing_and_there_are_no_edges_back():
    costs = edge_costs(euler(torch.randn(6, 1, 4)), SPANS)
    assert (costs[0, 0].diagonal(1) == 0).all()
    back = torch.ones(7, 7).tril().bool()
    assert costs[0][:, back].isinf().all()


def test_constant_velocity_costs_nothing():
    costs = edge_costs(euler(torch.ones(6, 1, 4)), SPANS)
    assert costs[costs.isfinite()].max() < 1e-5


def test_shards_merge_to_the_same_map_in_any_order_and_grouping():
    one, two, rest = (
        random_map("00001-0"),
        random_map("00000-0", "00003-1"),
        random_map("00002-0", "00002-1", "00004-0"),
    )
    forward = StabilityMap.merge([one, two, rest])
    nested = StabilityMap.merge([StabilityMap.merge([rest, one]), two])
    assert forward.samples == nested.samples == tuple(sorted(forward.samples))
    assert torch.equal(forward.costs, nested.costs)
    assert forward.digest == nested.digest
    assert torch.equal(forward.mean(), nested.mean())


def test_a_map_survives_its_file(tmp_path):
    stability = random_map("a", "b")
    (tmp_path / "map.safetensors").write_bytes(stability.to_bytes())
    loaded = StabilityMap.load(tmp_path / "map.safetensors")
    assert (loaded.model, loaded.schedule, loaded.spans, loaded.samples) == ("m", stability.schedule, SPANS, ("a", "b"))
    assert torch.equal(loaded.costs, stability.costs)


def test_bad_shards_and_files_are_refused(tmp_path):
    stability = random_map("a")
    with pytest.raises(ValueError, match="overlap"):
        StabilityMap.merge([stability, stability])
    other = StabilityMap("m", Schedule([1.0, 0.5, 0.0]), SPANS, ("b",), torch.zeros(1, 3, 3, 3))
    with pytest.raises(ValueError, match="cannot merge"):
        StabilityMap.merge([stability, other])
    with pytest.raises(ValueError, match="no stability maps"):
        StabilityMap.merge([])
    (tmp_path / "map.safetensors").write_bytes(stability.to_bytes()[:100])
    with pytest.raises(ValueError, match="no stability map can be read"):
        StabilityMap.load(tmp_path / "map.safetensors")

"""The constants of TeaCache and MagCache from measured changes."""

import pytest
import torch

from baselines.block_changes import BlockChanges, Changes, magcache_ratios, teacache_coefficients
from meancache.models import adapter_for
from meancache.protocols import Probe, Streams
from meancache.schedule import Schedule
from meancache.session import attach


def test_changes_of_known_tensors():
    """Input doubles, output triples, the residual's norm goes from 1 to 4."""
    method = BlockChanges()
    state, schedule = method.new_state(), Schedule([1.0, 0.5, 0.0])
    for step, (entry, out) in zip(schedule.steps(), [(1.0, 2.0), (2.0, 6.0)]):
        streams = Streams(torch.full((1, 3, 1), entry))
        probe = Probe(streams, streams, lambda entry=entry: torch.full((1, 3, 1), entry))
        method.observe(step, state, probe, Streams(torch.full((1, 3, 1), out)))
    assert method.changes() == [Changes([[1.0]], [[2.0]], [[4.0]])]


def test_a_batch_measures_as_its_samples_do(random_qwen):
    def measured(*seeds: int) -> list[Changes]:
        method = BlockChanges()
        with attach(random_qwen.pipe, adapter_for(random_qwen.pipe), method):
            random_qwen.run(*seeds)
        return method.changes()

    both, singles = measured(0, 1), [*measured(0), *measured(1)]
    for left, right in zip(both, singles, strict=True):
        assert len(left.residual_ratio) == 2  # branches
        torch.testing.assert_close(torch.tensor(left.output), torch.tensor(right.output), rtol=1e-4, atol=1e-5)
        assert Changes.from_json(left.to_json()) == left


def test_the_fit_finds_the_quartic_and_the_mean():
    x = torch.linspace(0, 1, 20).tolist()
    y = [2 * v**4 - v**2 + 0.5 for v in x]
    samples = [Changes([x[:10]], [y[:10]], [[1.0, 2.0]]), Changes([x[10:]], [y[10:]], [[3.0, 4.0]])]
    assert teacache_coefficients(samples) == pytest.approx([2, 0, -1, 0, 0.5], abs=1e-6)
    assert magcache_ratios(samples) == [1.0, 2.0, 3.0]

"""LeMiCa: step lists, and the plan of least largest cost."""

import pytest
import yaml

from baselines.lemica import LeMiCa
from experiments.compose import CONF
from meancache.schedule import Schedule

LISTS = yaml.safe_load((CONF / "preset" / "flux-lemica_released.yaml").read_text())["lists"]


def test_released_lists_are_as_long_as_they_say_and_never_skip_more_than_seven():
    for budget in (26, 20, 15, 10):
        method = LeMiCa.released(LISTS, budget)
        assert len(method.steps) == budget
        assert max(b - a for a, b in zip(method.steps, method.steps[1:])) <= 7


def test_a_list_for_another_run_or_of_another_length_is_refused():
    with pytest.raises(ValueError, match="no released list with budget 11, only with 26, 20, 15, 10"):
        LeMiCa.released(LISTS, 11)
    with pytest.raises(ValueError, match="for 50 steps, but the run has 2"):
        LeMiCa.released(LISTS, 10).check(Schedule([1.0, 0.5, 0.0]))
    with pytest.raises(ValueError, match="rise from 0"):
        LeMiCa((0, 3, 3))

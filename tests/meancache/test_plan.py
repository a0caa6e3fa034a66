"""Plans: their invariants, their files, and the plans that the authors released."""

import json
from pathlib import Path

import pytest
import yaml

from experiments.compose import CONF
from meancache.method import MeanCache
from meancache.plan import Plan
from meancache.schedule import Schedule

GRID = Schedule([1 - i / 50 for i in range(51)])

# Facts from UnicomAI/MeanCache, Mc_qwenimage.py: the released Qwen-Image plan for 10 steps. Their list has one order
# for each edge between nodes; the last node's edge, to the end of the grid, is a plain step.
QWEN_NODES = (0, 1, 3, 7, 14, 21, 28, 35, 42, 49)
QWEN_ORDERS = (0, 2, 1, 1, 1, 1, 1, 1, 4, 0)

RELEASED = Path(__file__).parents[3] / "shared" / "data" / "plans" / "released_plans.json"


def test_a_plan_answers_for_every_step():
    plan = Plan("qwen_image", GRID, QWEN_NODES, QWEN_ORDERS, "release")
    assert plan.budget == 10
    assert [i for i in range(50) if plan.computes(i)] == list(QWEN_NODES)
    assert [plan.span(i) for i in (0, 1, 2, 3, 13, 41, 42, 48, 49)] == [0, 2, 2, 1, 1, 1, 4, 4, 0]
    assert [plan.edge_end(i) for i in (0, 1, 2, 42, 48, 49)] == [1, 3, 3, 49, 49, 50]


def test_json_round_trip():
    plan = Plan("qwen_image", GRID, QWEN_NODES, QWEN_ORDERS, "release", 4.0, "velocity", 0.125, "UnicomAI/MeanCache")
    assert Plan.from_json(plan.to_json()) == plan
    content = json.loads(plan.to_json())
    assert content["budget"] == 10
    assert content["sigmas"] == list(GRID.sigmas)


@pytest.mark.skipif(not RELEASED.exists(), reason="the authors' released plans are not part of this repository")
def test_released_plans_round_trip():
    plans = [entry for entry in json.loads(RELEASED.read_text()) if entry["method"] == "meancache"]
    assert len(plans) >= 11
    for entry in plans:
        orders = (*entry["orders"], 0)
        grid = Schedule([1 - i / entry["num_steps"] for i in range(entry["num_steps"] + 1)])
        plan = Plan(entry["model"], grid, tuple(entry["nodes"]), orders, "release", source=entry["source"])
        assert plan.budget == entry["budget"]
        assert Plan.from_json(plan.to_json()) == plan
        MeanCache(plan).check(grid)
        shipped = CONF / "preset" / f"{entry['model'].replace('-', '_')}-meancache_released.yaml"
        facts = yaml.safe_load(shipped.read_text())["plans"][str(entry["budget"])]
        assert facts == {"nodes": entry["nodes"], "orders": entry["orders"]}


@pytest.mark.parametrize(
    ("nodes", "orders", "message"),
    [
        ((1, 2), (1, 1), "computes step 0 first"),
        ((0, 3, 3), (1, 1, 1), "must rise"),
        ((0, 50), (1, 1), "stay below num_steps = 50"),
        ((0, 3), (1,), "one span >= 0 for each of its 2 nodes"),
        ((0, 3), (1, -1), "one span >= 0"),
        ((0, 1), (1, 2), "span K = 2 at step 1 reaches before step 0"),
        ((0, 1.5), (1, 1), "whole numbers"),
    ],
)
def test_what_is_no_path_is_refused(nodes, orders, message):
    with pytest.raises(ValueError, match=message):
        Plan("m", GRID, nodes, orders, "paper")


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="rule must be one of paper, release, hold, got 'magic'"):
        Plan("m", GRID, (0,), (1,), "magic")


def test_a_file_that_is_no_plan_is_refused(tmp_path):
    for text in ("", "{}", '{"budget": 3}', "[1]", '"abc"', "7"):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(ValueError, match="no plan can be read from"):
            Plan.load(tmp_path / "plan.json")
    with pytest.raises(ValueError, match="no plan can be read from"):
        Plan.load(tmp_path / "missing.json")


def test_grids_match_up_to_float32_rounding():
    nudged = Schedule([sigma + 1e-6 for sigma in GRID.sigmas])
    Plan("m", GRID, (0,), (1,)).check(nudged)
    with pytest.raises(ValueError, match="made for 50 steps .* but the run uses 40 steps"):
        Plan("m", GRID, (0,), (1,)).check(Schedule([1 - i / 40 for i in range(41)]))
    with pytest.raises(ValueError, match="at least two"):
        Schedule([1.0])
    with pytest.raises(ValueError, match="fall strictly"):
        Schedule([1.0, 0.5, 0.5])

"""Table 1's FLOPs, full-size architectures without weights: every figure as printed."""

import functools

import pytest

from experiments.paper_flops import full_size_costs, is_printed, main, pipeline_tflops
from experiments.paper_rows import ROWS, fewest_steps
from meancache.flops import PipelineCosts


@functools.cache
def costs() -> dict[str, PipelineCosts]:
    return full_size_costs()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.model} {row.method}")
def test_every_figure_is_the_printed_one(row):
    ours = pipeline_tflops(row, costs()[row.model])
    assert is_printed(row, ours)
    assert abs(ours - row.paper) <= 0.005


def test_there_are_nineteen():
    assert len(ROWS) == 19


def test_what_runs_once():
    assert {model: round(price.once / 1e12, 6) for model, price in costs().items()} == {
        "FLUX.1-dev": 15.330226,
        "Qwen-Image": 18.808276,
    }


@pytest.mark.parametrize(("threshold", "steps"), [(0.25, 26), (1.5, 7)])
def test_fewest_steps_of_teacache(threshold, steps):
    assert fewest_steps(threshold) == steps


def test_a_figure_that_differs_fails_the_command(monkeypatch, capsys):
    monkeypatch.setattr("experiments.paper_flops.full_size_costs", costs)
    assert main() == 0
    assert "19 of 19" in capsys.readouterr().out
    monkeypatch.setattr("experiments.paper_flops.is_printed", lambda row, ours: row is not ROWS[0])
    assert main() == 1

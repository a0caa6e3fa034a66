"""FLOPs of Tables 1 and 2, full-size architectures without weights: every published figure."""

import functools

import pytest

from experiments.full_size.image_rows import ROWS, fewest_steps
from experiments.full_size.video_rows import HUNYUAN, VIDEO_ROWS
from experiments.paper_flops import agrees, full_size_costs, main, tflops
from meancache.flops import PipelineCosts

SPECIFIED = {  # 10 steps of 50 full or 8, between them what the released code does; counted by torch
    "50 steps": 29771.4,
    "ToCa N=5": 7006.0,
    "DuCa N=5": 6482.9,
    "TaylorSeer N=5": 5960.2,
    "TaylorSeer N=7": 4769.6,
}


@functools.cache
def costs() -> dict[str, PipelineCosts]:
    return full_size_costs()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.model} {row.method}")
def test_every_figure_of_table_1_is_the_printed_one(row):
    ours = tflops(row, costs())
    assert agrees(row, ours)
    assert abs(ours - row.paper) <= 0.005


@pytest.mark.parametrize("row", VIDEO_ROWS, ids=lambda row: row.method)
def test_rows_of_table_2(row):
    """Published figures, where there are any, by a counter that adds elementwise work."""
    ours = tflops(row, costs())
    assert agrees(row, ours)
    assert not agrees(row, 1.001 * ours) or row.paper is None
    if row.method in SPECIFIED:
        assert round(ours, 1) == SPECIFIED[row.method]


def test_there_are_nineteen_and_nine():
    assert (len(ROWS), len(VIDEO_ROWS)) == (19, 9)
    assert {row.method for row in VIDEO_ROWS} > set(SPECIFIED)


def test_a_step_of_hunyuan_video():
    assert costs()[HUNYUAN].full_run(1) == 595_428_243_406_848


def test_what_runs_once():
    assert {model: round(price.once / 1e12, 6) for model, price in costs().items() if model != HUNYUAN} == {
        "FLUX.1-dev": 15.330226,
        "Qwen-Image": 18.808276,
    }


@pytest.mark.parametrize(("threshold", "steps"), [(0.25, 26), (1.5, 7)])
def test_fewest_steps_of_teacache(threshold, steps):
    assert fewest_steps(threshold) == steps


def test_a_figure_that_differs_fails_the_command(monkeypatch, capsys):
    monkeypatch.setattr("experiments.paper_flops.full_size_costs", costs)
    assert main() == 0
    assert "23 of 23" in capsys.readouterr().out
    monkeypatch.setattr("experiments.paper_flops.agrees", lambda row, ours: row is not ROWS[0])
    assert main() == 1

"""One run of the embedded video model from configuration to scores, at a handful of steps."""

import json
from pathlib import Path

import imageio.v3 as imageio
import pytest
import torch

from eval.samples import load_sample, read_records
from experiments.compose import compose_config
from experiments.stages import Outcome, run_stages

SMALL = [
    "model=tiny_hunyuan",
    "model.num_steps=4",
    "prompts.limit=2",
    "calibrate.limit=1",
    "calibrate.seeds=[0]",
    "calibrate.max_span=2",
    "runtime.warmup=0",
    "metrics.names=[psnr,temporal_flickering]",
    "method=meancache",
    "budget=2",
    "spans=[2]",
]


def run(output: Path) -> Outcome:
    torch.set_num_threads(2)  # the run asks for one
    outcome = run_stages(compose_config([*SMALL, f"output={output}"]))
    assert outcome is not None
    return outcome


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(tmp_path_factory.mktemp("output"))


def test_a_video_is_kept_whole_and_as_an_mp4(outcome):
    for folder, nfe in ((outcome.run, 2), (outcome.reference, 4)):
        assert json.loads((folder / "env.json").read_text())["threads"] == 1
        for record in read_records(folder):
            assert (record.num_frames, record.nfe) == (9, nfe)
            assert load_sample(folder, record).shape == (9, 3, 64, 64)
            shown = imageio.imread((folder / record.file).with_suffix(".mp4"))
            exact = load_sample(folder, record).permute(0, 2, 3, 1).numpy() * 255
            assert shown.shape == (9, 64, 64, 3)
            assert abs(shown - exact).mean() < 12


def test_videos_are_scored_frame_by_frame_and_the_reference_for_itself(outcome):
    scores, own = (json.loads((f / "metrics.json").read_text())["metrics"] for f in (outcome.run, outcome.reference))
    assert 5 < scores["psnr"]["value"] < 80 and own.keys() == {"temporal_flickering"}
    assert 0.5 < own["temporal_flickering"]["value"] < 1
    assert (outcome.run / "grid.png").exists()


def test_a_lost_mp4_is_made_again_and_nothing_else_changes(outcome, caplog):
    first, second = (outcome.run / record.file for record in read_records(outcome.run))
    before = first.read_bytes(), second.stat().st_mtime_ns
    first.with_suffix(".mp4").unlink()
    with caplog.at_level("INFO"):
        assert run(outcome.run.parents[1]) == outcome
    assert first.with_suffix(".mp4").exists()
    assert (first.read_bytes(), second.stat().st_mtime_ns) == before

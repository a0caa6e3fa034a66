"""One run of the embedded video model from configuration to scores, at a handful of steps."""

import json
from pathlib import Path

import imageio.v3 as imageio
import pytest
import torch

from experiments.comparison import Comparison
from experiments.compose import compose_config
from experiments.job import Job
from experiments.stages import run_stages

SMALL = [
    "model=tiny_hunyuan",
    "model.num_steps=4",
    "prompts.limit=2",
    "calibrate.limit=1",
    "calibrate.seeds=[0]",
    "calibrate.max_span=2",
    "timing.pairs=0",
    "metrics.names=[psnr,temporal_flickering]",
    "method=meancache",
    "budget=2",
    "spans=[2]",
]


def run(output: Path) -> Comparison:
    torch.set_num_threads(2)  # the run asks for one
    comparison = run_stages(Job(compose_config([*SMALL, f"output={output}"])))
    assert comparison is not None
    return comparison


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return run(tmp_path_factory.mktemp("output"))


def test_a_video_is_kept_whole_and_as_an_mp4(comparison):
    for folder, nfe in ((comparison.run, 2), (comparison.reference, 4)):
        assert json.loads((folder.path / "env.json").read_text())["threads"] == 1
        for record in folder.records():
            assert (record.num_frames, record.nfe) == (9, nfe)
            assert folder.load(record).shape == (9, 3, 64, 64)
            shown = imageio.imread(folder.to_look_at(record))
            exact = folder.load(record).permute(0, 2, 3, 1).numpy() * 255
            assert shown.shape == (9, 64, 64, 3)
            assert abs(shown - exact).mean() < 12


def test_videos_are_scored_frame_by_frame_and_the_reference_for_itself(comparison):
    scores, own = (f.metrics()["metrics"] for f in (comparison.run, comparison.reference))
    assert 5 < scores["psnr"]["value"] < 80 and own.keys() == {"temporal_flickering"}
    assert 0.5 < own["temporal_flickering"]["value"] < 1
    assert (comparison.run.path / "grid.png").exists()


def test_a_lost_mp4_is_made_again_and_nothing_else_changes(comparison, caplog):
    first, second = (comparison.run.path / record.file for record in comparison.run.records())
    before = first.read_bytes(), second.stat().st_mtime_ns
    first.with_suffix(".mp4").unlink()
    with caplog.at_level("INFO"):
        assert run(comparison.run.path.parents[1]) == comparison
    assert first.with_suffix(".mp4").exists()
    assert (first.read_bytes(), second.stat().st_mtime_ns) == before

"""The real VBench, in the environment that `make env-vbench` makes, on videos of the embedded model."""

import json
import subprocess
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from eval.metric import Batch
from eval.metrics import METRICS
from eval.vbench import DEFAULT_PYTHON, SCRIPT
from eval.worker import Task, Worker
from experiments.compose import compose_config
from experiments.job import Job
from experiments.stages import generate
from meancache.run_folder import RunFolder

pytestmark = pytest.mark.skipif(not DEFAULT_PYTHON.exists(), reason="needs .venv-vbench: make env-vbench")

OFFICIAL = """
import json, sys
from vbench import VBench
videos, output = sys.argv[1:]
info = [{"prompt_en": f"prompt {k}", "dimension": ["temporal_flickering"]} for k in range(2)]
json.dump(info, open(output + "/info.json", "w"))
VBench("cpu", output + "/info.json", output).evaluate(videos, "it", dimension_list=["temporal_flickering"], local=True)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two videos of the embedded model, at a few steps."""
    torch.set_num_threads(2)  # the run asks for one
    settings = ["model=tiny_hunyuan", "model.num_steps=4", "prompts.limit=2", "method=full"]
    job = Job(compose_config([*settings, f"output={tmp_path_factory.mktemp('output')}"]))
    assert generate(job)
    return job.folder


@pytest.fixture(scope="module")
def lossless(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its videos under official names, with every pixel of the strips."""
    folder = tmp_path_factory.mktemp("lossless")
    for k, record in enumerate(run.records()):
        frames = (run.load(record) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        exact = {"codec": "libx264rgb", "pixelformat": "rgb24", "output_params": ["-crf", "0"]}
        imageio.imwrite(folder / f"prompt {k}-0.mp4", frames, plugin="FFMPEG", fps=8, **exact)
    return folder


def score(videos: list[Path], dimension: str, folder: Path) -> list[dict]:
    tasks = [
        Task(file.stem, dimension, {"prompt": file.stem[:-2], "name": file.name}, {"file": str(file)})
        for file in videos
    ]
    lines = Worker("vbench", DEFAULT_PYTHON, SCRIPT).scores(tasks, folder, "cpu")
    return [lines[task.key] for task in tasks]


def test_its_temporal_flickering_is_ours_on_the_same_frames(run, lossless, tmp_path):
    theirs = [line["score"] for line in score(sorted(lossless.iterdir()), "temporal_flickering", tmp_path)]
    videos = torch.stack([run.load(record) for record in run.records()])
    ours = METRICS["temporal_flickering"].score(Batch(videos, videos, ("a", "b")))
    assert theirs == pytest.approx(ours.tolist(), abs=1e-6) and 0.5 < min(theirs) < max(theirs) < 1


def test_the_worker_gives_what_its_own_evaluation_gives(lossless, tmp_path):
    command = [str(DEFAULT_PYTHON), "-I", "-c", OFFICIAL, str(lossless), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    mean, videos = json.loads((tmp_path / "it_eval_results.json").read_text())["temporal_flickering"]
    lines = score(sorted(lossless.iterdir()), "temporal_flickering", tmp_path / "ours")
    assert [line["score"] for line in lines] == [video["video_results"] for video in videos]
    assert np.mean([line["score"] for line in lines]) == pytest.approx(mean, abs=1e-12)


def test_a_video_that_cannot_be_read_costs_no_other_its_score(lossless, tmp_path):
    (tmp_path / "broken-0.mp4").write_text("no video")
    first, second = sorted(lossless.iterdir())
    lines = score([first, tmp_path / "broken-0.mp4", second], "temporal_flickering", tmp_path / "out")
    assert ["error" in line for line in lines] == [False, True, False]
    assert "cannot read the video" in lines[1]["error"]


def test_the_worker_ends_when_its_caller_does(lossless, tmp_path):
    """Here its standard input is closed from the start, long before it has imported anything."""
    task = Task("a", "temporal_flickering", {"prompt": "a", "name": "a-0.mp4"}, {"file": str(next(lossless.iterdir()))})
    (tmp_path / "manifest.jsonl").write_text(task.to_json())
    command = [str(DEFAULT_PYTHON), "-I", str(SCRIPT), str(tmp_path / "manifest.jsonl"), "cpu"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, b"")


def test_a_dimension_that_cannot_start_says_why_for_every_video(lossless, tmp_path):
    lines = score(sorted(lossless.iterdir()), "no_dimension", tmp_path)
    assert [line["error"] for line in lines] == ["ModuleNotFoundError: No module named 'vbench.no_dimension'"] * 2


def test_a_run_is_scored_on_what_needs_no_weights(run, monkeypatch, tmp_path):
    monkeypatch.setenv("VBENCH_CACHE_DIR", str(tmp_path))  # none are there
    found = METRICS["vbench"].score_run(run, "cpu")
    assert found.value is None and found.parts.keys() == {"temporal_flickering"}
    videos = torch.stack([run.load(record) for record in run.records()])
    ours = METRICS["temporal_flickering"].score(Batch(videos, videos, ("a", "b"))).mean().item()
    assert found.parts["temporal_flickering"] == pytest.approx(ours, abs=0.01)  # the MP4 is not exact
    assert "for official prompts alone" in found.notes[0]

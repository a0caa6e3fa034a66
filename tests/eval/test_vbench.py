"""VBench's arithmetic, and what of a run is scored on which dimension. The real VBench runs in tests/experiments."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from eval import vbench
from eval.metric import MetricUnavailable
from eval.metrics import METRICS, find_metrics
from eval.vbench import Installation
from eval.vbench_score import DIMENSIONS, QUALITY, SEMANTIC, WITH_DETECTRON2, score_of, total_of
from eval.vbench_weights import RAFT, WEIGHTS
from eval.weights import WeightFile

# T2V-Turbo (VC2), arXiv 2405.18750, table 1, and VBench's leaderboard, in percent
PUBLISHED = {
    "subject_consistency": 96.28,
    "background_consistency": 97.02,
    "temporal_flickering": 97.48,
    "motion_smoothness": 97.34,
    "aesthetic_quality": 63.04,
    "dynamic_degree": 49.17,
    "imaging_quality": 72.49,
    "object_class": 93.96,
    "multiple_objects": 54.65,
    "human_action": 95.20,
    "color": 89.90,
    "spatial_relationship": 38.67,
    "scene": 55.58,
    "appearance_style": 24.42,
    "temporal_style": 25.51,
    "overall_consistency": 28.16,
}
WORKER = """
import json, sys
for task in map(json.loads, open(sys.argv[1])):
    with open(TOLD, "a") as file:
        file.write(json.dumps(task) + "\\n")
    outcome = {"error": "it broke"} if task["part"] in BROKEN else {"score": SCORES[task["part"]]}
    print(json.dumps({"key": task["key"], **outcome}), flush=True)
"""


def test_a_row_of_the_leaderboard():
    scores = {name: value / 100 for name, value in PUBLISHED.items()}
    quality, semantic = 100 * score_of(scores, QUALITY), 100 * score_of(scores, SEMANTIC)
    # its dimensions are rounded to 0.01, and so are these
    assert (quality, semantic) == (pytest.approx(82.57, abs=0.01), pytest.approx(74.76, abs=0.01))
    assert total_of(quality, semantic) == pytest.approx(81.01, abs=0.01)


def test_sixteen_dimensions_of_which_ten_are_for_own_prompts():
    assert len(DIMENSIONS) == 16 and DIMENSIONS.keys() == WEIGHTS.keys() == PUBLISHED.keys()
    refused = {name for name, dimension in DIMENSIONS.items() if not dimension.own_prompts}
    assert refused == {"scene", "appearance_style", *WITH_DETECTRON2}
    files = [file for files in WEIGHTS.values() for file in files]
    assert all(file.address.startswith("https://") and file.shelf == "vbench" for file in files)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a stand-in for VBench in place, whose list has a prompt for every dimension, and whose scores are given."""
    monkeypatch.setenv("VBENCH_CACHE_DIR", str(tmp_path / "cache"))

    def put(weights: bool = True, detectron2: bool = True, broken: tuple[str, ...] = (), **prompts: str) -> Path:
        told = tmp_path / "told.jsonl"
        script = tmp_path / "worker.py"
        scores = {name: value / 100 for name, value in PUBLISHED.items()}
        head = f"TOLD, BROKEN, SCORES = {str(told)!r}, {broken!r}, {scores!r}\n"
        script.write_text(head + WORKER)
        for files in WEIGHTS.values() if weights else ():
            for file in files:
                file.target.parent.mkdir(parents=True, exist_ok=True)
                file.target.write_text(file.name)
        monkeypatch.setattr(WeightFile, "what_is_wrong", lambda file: "" if file.target.exists() else "missing")
        official = {text: tuple(names.split("+")) for text, names in prompts.items()}
        installation = Installation(Path(sys.executable), "0.1.5", official, detectron2)
        monkeypatch.setattr(vbench, "SCRIPT", script)
        monkeypatch.setattr(vbench, "find_installation", lambda python: installation)
        return told

    return put


@pytest.fixture
def run(write_run, videos):
    return write_run("run", videos)


HALVES = {"prompt 0": "+".join(QUALITY), "prompt 1": "+".join(SEMANTIC)}  # what write_run's two prompts are scored on


def test_a_run_on_the_official_prompts_has_a_total(install, run):
    told = install(**HALVES)
    score = METRICS["vbench"].score_run(run, "cpu")
    assert score.value == pytest.approx(81.01, abs=0.01) and score.notes == ()
    assert score.parts["quality"] == pytest.approx(82.57, abs=0.01)
    assert score.parts["color"] == pytest.approx(0.899)
    assert score.per_sample["color"] == {"00001-3": pytest.approx(0.899)}
    tasks = [json.loads(line) for line in told.read_text().splitlines()]
    assert {task["name"] for task in tasks} == {"prompt 0-0.mp4", "prompt 1-0.mp4"}
    assert {task["file"] for task in tasks} == {str(run.to_look_at(record)) for record in run.records()}
    METRICS["vbench"].score_run(run, "cpu")
    assert len(told.read_text().splitlines()) == len(tasks) == 16  # nothing was scored twice


def test_what_lacks_something_is_named_and_takes_the_total_with_it(install, run):
    told = install(weights=False, detectron2=False, **HALVES)
    score = METRICS["vbench"].score_run(run, "cpu")
    assert (score.value, score.parts) == (None, {"temporal_flickering": pytest.approx(0.9748)})
    assert len(told.read_text().splitlines()) == 1
    (note,) = score.notes
    assert "no total, which needs all 16" in note and "\n" not in note
    assert "without weights: subject_consistency, background_consistency, motion_smoothness" in note
    assert "without detectron2 and weights: object_class, multiple_objects, color, spatial_relationship" in note


def test_a_dimension_that_breaks_loses_no_other(install, run):
    install(broken=("scene",), **HALVES)
    score = METRICS["vbench"].score_run(run, "cpu")
    assert score.value is None and score.parts.keys() == {*PUBLISHED, "quality"} - {"scene"}
    assert score.notes[0].endswith("failed at 00001-3 with it broke: scene")


def test_own_prompts_are_scored_on_ten_dimensions_and_the_others_refused(install, run):
    told = install(**{"prompt 0": "color"})  # prompt 1 is none of VBench's
    score = METRICS["vbench"].score_run(run, "cpu")
    asked = {json.loads(line)["part"] for line in told.read_text().splitlines()}
    assert asked == {name for name, dimension in DIMENSIONS.items() if dimension.own_prompts}
    assert score.value is None and "quality" in score.parts and "semantic" not in score.parts
    assert "for official prompts alone: object_class, multiple_objects, color" in score.notes[0]


@pytest.mark.parametrize("prompt", ["a/b " * 100, "一只猫" * 50])
def test_a_long_prompt_of_ones_own_still_makes_a_file_name(install, run, monkeypatch, prompt):
    told = install()
    long = [replace(record, prompt=prompt) for record in run.records()]
    monkeypatch.setattr(type(run), "records", lambda self: long)
    METRICS["vbench"].score_run(run, "cpu")
    names = {json.loads(line)["name"] for line in told.read_text().splitlines()}
    assert all(len(name.encode()) <= 255 and "/" not in name for name in names)


def test_what_lies_in_an_archive_is_not_fetched():
    assert RAFT not in METRICS["vbench"].weights() and len(METRICS["vbench"].weights()) > 10
    with pytest.raises(ValueError, match=r"raft-things.pth lies in an archive: fetch https://.*models.zip, and put it"):
        RAFT.fetch()


def test_without_its_environment_it_says_how_to_make_it(monkeypatch, tmp_path):
    (metric,) = find_metrics(["vbench"], {"vbench": {"python": str(tmp_path / "python")}})
    assert metric.missing().startswith("VBench needs an environment of its own")
    monkeypatch.setattr(vbench, "DEFAULT_PYTHON", tmp_path / "python")
    vbench.find_installation.cache_clear()
    assert METRICS["vbench"].missing().endswith("`make env-vbench` makes it")
    with pytest.raises(MetricUnavailable):
        vbench.find_installation("")
    assert METRICS["vbench"].why_not_for("picture", "flux")
    vbench.find_installation.cache_clear()

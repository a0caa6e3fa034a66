"""Training of the scorers and their cards, at sizes that take seconds."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from embedded import scorer_cards, train_scorers
from embedded.judging.damage import STRENGTHS, damaged, fresh_sample
from embedded.judging.options import read_options
from eval.scene import checker, clip, files, reward

MICRO = ["num_scenes=8", "batch=4", "checker_steps=2", "clip_steps=2", "reward_steps=2", "measured=8"]
LOADERS = (checker.load_checker, clip.load_clip, reward.load_reward)


@pytest.fixture
def assets(tmp_path: Path, monkeypatch):
    """An empty folder in the place of the shipped scorers."""
    monkeypatch.setattr(files, "ASSETS", tmp_path / "assets")
    for load in LOADERS:
        load.cache_clear()
    yield tmp_path / "assets"
    for load in LOADERS:
        load.cache_clear()


def test_scorers_are_trained_exported_measured_and_not_trained_again(assets: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("embedded.judging.reward.SAMPLES", 1)
    monkeypatch.setattr(scorer_cards, "load_suite", lambda name: [])
    monkeypatch.setattr(scorer_cards, "motion_on_drawn", lambda entries, num_frames: 0.5)
    options = [*MICRO, f"output={tmp_path / 'work'}"]
    threads = torch.get_num_threads()
    train_scorers.main(options)
    first = {path: path.read_bytes() for path in assets.rglob("*.safetensors")}
    assert len(first) == 3
    for path in first:
        with safe_open(path, "pt") as weights:
            assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float16}  # noqa: SIM118
    for name in scorer_cards.MEASURES:
        metrics = json.loads((assets / name / "metrics.json").read_text())
        assert metrics["training"]["steps"] == 2 and set(metrics["mean"]) == {*STRENGTHS, "jitter"}
        assert f"# {name}" in (assets / name / "README.md").read_text()
    train_scorers.main([*options, "stage=clip"])
    assert first == {path: path.read_bytes() for path in assets.rglob("*.safetensors")}
    torch.set_num_threads(threads)


def test_damage_grows_from_nothing():
    sample = fresh_sample(6, seed=1)
    for kind, strengths in STRENGTHS.items():
        pictures, texts = damaged(sample, kind, strengths[0], seed=2)
        assert torch.equal(pictures, sample.pictures) and texts == sample.texts
        changes = [(damaged(sample, kind, s, seed=2)[0] - sample.pictures).abs().mean() for s in strengths]
        assert kind == "caption" or (changes == sorted(changes) and changes[-1] > 0.01)
    texts = damaged(sample, "caption", 1, seed=2)[1]
    assert all(wrong != right for wrong, right in zip(texts, sample.texts, strict=True))


def test_moved_pictures_are_moved():
    pictures = fresh_sample(2, seed=1).pictures
    moved, _ = damaged(fresh_sample(2, seed=1), "jitter", 2, seed=0)
    assert torch.equal(moved[..., 2:, 2:], pictures[..., :-2, :-2])


@pytest.mark.parametrize("option", ["stage=sleep", "clip_minuts=3"])
def test_bad_options_are_refused(option: str):
    with pytest.raises(ValueError, match=option.split("=")[0]):
        read_options([option])

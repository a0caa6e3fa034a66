"""The embedded models' scorers, with the weights that ship, on scenes drawn here."""

import json
import random
from pathlib import Path

import pytest
import torch
from torch.nn.functional import interpolate

from embedded.judging.damage import STRENGTHS, Sample, damaged, fresh_sample
from embedded.world.captions import caption
from embedded.world.scenes import sample_scene
from eval.metric import Batch, MetricUnavailable
from eval.metrics import METRICS, find_metrics
from eval.scene import files
from eval.scene.checker import load_checker
from eval.scene.draw import draw, draw_videos
from eval.scene.judge import things_of
from eval.scene.metrics import SceneMetric
from eval.scene.prompts import read_prompt
from eval.scene.world import MOTIONS, Scene

SUITES = files.ASSETS / "prompts"
NAMES = ("prompt_match", "scene_clip_score", "scene_reward")


def suite(name: str) -> list[dict]:
    return [json.loads(line) for line in (SUITES / f"{name}.jsonl").read_text().splitlines()]


def score(name: str, pictures: torch.Tensor, texts: tuple[str, ...]) -> torch.Tensor:
    """Of pictures in [-1, 1]."""
    images = (pictures + 1) / 2
    return METRICS[name].score(Batch(images, images, tuple(texts)))


@pytest.fixture(scope="module")
def sample() -> Sample:
    return fresh_sample(60, seed=77)


@pytest.mark.parametrize("name", ["scenes", "calibration", "videos", "video_calibration"])
def test_prompts_of_the_suites_are_read_as_the_suites_say(name):
    for entry in suite(name):
        said = {key: value for key, value in entry.items() if key != "category"}
        assert read_prompt(entry["prompt"]) == {"motion": "still"} | said


def test_captions_are_read_back():
    rng = random.Random(5)
    for k in range(1500):
        scene = sample_scene(rng, held_out=True, moving=k % 2 == 1)
        words = caption(scene, rng, rare=k % 3 == 0)
        read = read_prompt(words.text)
        assert (read["layout"], read["motion"]) == (scene.layout, scene.motion or "still")
        assert read["background"] == (scene.background if words.background_named else None)
        told = [(o["shape"], o["colour"], o["fill"], tuple(o["cell"])) for o in read["objects"]]
        assert told == [(t.shape, t.colour, t.fill, (t.row, t.column)) for t in scene.things]


@pytest.mark.parametrize("prompt", ["a cat", "a star", "a red star above", "a red star on the moon", ""])
def test_other_prompts_are_refused(prompt, sample):
    with pytest.raises(ValueError, match="cannot read the prompt"):
        score("prompt_match", sample.pictures[:1], (prompt,))


def test_a_drawn_prompt_matches_and_one_in_other_colours_does_not(sample):
    assert score("prompt_match", sample.pictures, sample.texts).mean() > 0.9
    assert score("prompt_match", sample.swapped, sample.texts).mean() < 0.05
    assert score("prompt_match", *damaged(sample, "caption", 1, seed=3)).mean() < 0.1
    assert set(score("prompt_match", sample.pictures, sample.texts).tolist()) <= {0.0, 1.0}


def test_a_picture_of_more_pixels_scores_alike(sample):
    large = interpolate(sample.pictures, scale_factor=2, mode="nearest")
    for name in NAMES:
        small = score(name, sample.pictures, sample.texts)
        torch.testing.assert_close(score(name, large, sample.texts), small, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", STRENGTHS)
@pytest.mark.parametrize("name", NAMES)
def test_the_more_damage_the_lower_the_score(name, kind, sample):
    means = [score(name, *damaged(sample, kind, strength, seed=3)).mean() for strength in STRENGTHS[kind]]
    assert means[0] > means[2] > means[4] - 0.02 * (name == "prompt_match")  # which is zero before the end
    assert means[0] > means[1] - 0.02 * means[0].abs()


@pytest.mark.parametrize("name", NAMES)
def test_two_pixels_matter_less_than_two_mistakes(name, sample):
    clean = score(name, sample.pictures, sample.texts).mean()
    moved = score(name, *damaged(sample, "jitter", 2, seed=3)).mean()
    wrong = score(name, *damaged(sample, "caption", 2, seed=3)).mean()
    assert abs(clean - moved) < 0.3 * (clean - wrong)


def test_rewards_are_standardised(sample):
    rewards = score("scene_reward", sample.pictures, sample.texts)
    assert abs(rewards.mean()) < 0.5 and 0.5 < rewards.std() < 1.6


def test_a_video_matches_by_its_motion_too():
    entries = [entry for entry in suite("videos") if entry["layout"] == "single"][:12]
    scenes = [Scene(things_of(entry, "large"), entry["background"], entry["motion"]) for entry in entries]
    turned = [MOTIONS[(MOTIONS.index(scene.motion) + 1) % len(MOTIONS)] for scene in scenes]
    others = [Scene(scene.things, scene.background, motion) for scene, motion in zip(scenes, turned, strict=True)]
    prompts = tuple(entry["prompt"] for entry in entries)
    right, wrong = (draw_videos(some, seed=4, num_frames=9).transpose(1, 2) for some in (scenes, others))
    assert score("prompt_match", right, prompts).mean() > 0.8
    assert score("prompt_match", wrong, prompts).mean() < 0.2


@pytest.mark.parametrize("name", ["scene_clip_score", "scene_reward"])
def test_a_video_scores_the_mean_of_its_frames(name, sample):
    pictures, texts = sample.pictures[:3], sample.texts[:3]
    video = torch.stack([pictures, pictures.flip(-1), pictures * 0.5], dim=1)
    frames = torch.stack([score(name, video[:, k], texts) for k in range(3)])
    torch.testing.assert_close(score(name, video, texts), frames.mean(dim=0), atol=1e-3, rtol=1e-3)


def test_the_scene_clip_is_open_clips():
    import open_clip

    origin = f"local-dir:{files.scorer_folder('scene_clip')}"
    network, tokenizer = open_clip.create_model(origin).eval(), open_clip.get_tokenizer(origin)
    scene = sample_scene(random.Random(0))
    picture, text = draw([scene], torch.Generator().manual_seed(0)), caption(scene, random.Random(0)).text
    with torch.no_grad():
        vectors = network.encode_image(picture, normalize=True), network.encode_text(tokenizer([text]), normalize=True)
    expected = 100 * (vectors[0] * vectors[1]).sum(-1)
    torch.testing.assert_close(score("scene_clip_score", picture, (text,)), expected, atol=1e-3, rtol=0)


def test_scene_scorers_are_for_embedded_models_and_say_their_weights():
    for metric in find_metrics(NAMES):
        assert isinstance(metric, SceneMetric) and not metric.needs_reference
        assert metric.why_not_for("video", "tiny_hunyuan") == "" and "tiny_" in metric.why_not_for("picture", "flux")
        for folder in metric.folders:
            assert f"assets/{folder}, sha256 {files.weights_checksum(folder)}" in metric.provenance()
        assert metric.missing() == "" and "\n" not in metric.provenance()


def test_missing_weights_are_told(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(files, "ASSETS", tmp_path)
    assert "embedded.train_scorers" in METRICS["scene_reward"].missing()
    with pytest.raises(MetricUnavailable, match="embedded.train_scorers"):
        load_checker.__wrapped__()

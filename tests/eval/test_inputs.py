"""Odd files in run folders: alpha, greyscale, palettes, other sizes, videos of few or of odd numbers of frames."""

import hashlib
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from eval.metrics import find_metrics
from eval.pictures import as_pil
from experiments.evaluate import evaluate

METRICS = ["psnr", "ssim", "st_lpips"]


@pytest.fixture
def replace_first(write_run):
    """Puts another picture file into the place of a run's first sample, and its checksum into the records."""

    def put(run, picture: Image.Image) -> None:
        lines = [json.loads(line) for line in (run.path / "records.jsonl").read_text().splitlines()]
        file = run.path / lines[0]["file"]
        picture.save(file)
        lines[0]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
        (run.path / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    return put


def first_picture(run) -> Image.Image:
    return Image.open(run.path / "samples" / "00000-3.png").copy()


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_alpha_and_palettes_change_no_score(mode, write_run, replace_first, pictures, add_noise):
    reference = write_run("reference", pictures)
    flat = (add_noise(pictures, 0.2) * 3).round() / 3  # few enough colours for a palette
    plain, other = write_run("plain", flat), write_run("other", flat)
    picture = first_picture(other)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))  # what alpha hides still counts
    else:
        picture = picture.quantize(256, dither=Image.Dither.NONE)
    replace_first(other, picture)
    assert first_picture(other).mode == mode
    scores = [evaluate(run, reference, find_metrics(METRICS))["metrics"] for run in (plain, other)]
    assert all(scores[0][name]["per_sample"] == scores[1][name]["per_sample"] for name in METRICS)


def test_a_greyscale_picture_is_one_with_three_equal_channels(write_run, replace_first, pictures, add_noise):
    grey = add_noise(pictures, 0.2).mean(dim=1, keepdim=True).expand_as(pictures)
    reference, plain, other = write_run("reference", pictures), write_run("plain", grey), write_run("other", grey)
    replace_first(other, first_picture(other).getchannel(0))
    assert first_picture(other).mode == "L"
    scores = [evaluate(run, reference, find_metrics(METRICS))["metrics"] for run in (plain, other)]
    assert all(scores[0][name]["per_sample"] == scores[1][name]["per_sample"] for name in METRICS)


def test_sixteen_bits_are_refused_since_they_would_all_be_white(write_run, replace_first, pictures):
    run, reference = write_run("run", pictures), write_run("reference", pictures)
    replace_first(run, Image.new("I;16", (64, 64), 30000))
    with pytest.raises(ValueError, match=r"run/samples/00000-3\.png has 16 bits a channel: 8 are expected"):
        evaluate(run, reference, find_metrics(METRICS))


def test_another_size_than_the_references_is_one_clear_error(write_run, pictures):
    run, reference = write_run("run", pictures[..., :32, :32]), write_run("reference", pictures)
    with pytest.raises(ValueError, match=r"metrics failed.*psnr.*was the reference generated at another resolution"):
        evaluate(run, reference, find_metrics(METRICS))


def test_pictures_need_be_neither_square_nor_even(write_run, pictures, add_noise):
    sides = pictures[..., :47, :61]
    run, reference = write_run("run", add_noise(sides, 0.1)), write_run("reference", sides)
    scores = evaluate(run, reference, find_metrics(METRICS))["metrics"]
    assert all(math.isfinite(scores[name]["value"]) for name in METRICS)


@pytest.mark.parametrize("num_frames", [1, 3, 17])
def test_any_number_of_frames_is_scored(num_frames, write_run, pictures, add_noise):
    videos = torch.stack([pictures.roll(shift, dims=-1) for shift in range(num_frames)], dim=1)
    run, reference = write_run("run", add_noise(videos, 0.1)), write_run("reference", videos)
    scores = evaluate(run, reference, find_metrics(METRICS), batch_size=5)["metrics"]
    assert all(scores[name]["n"] == 2 and math.isfinite(scores[name]["value"]) for name in METRICS)


def test_one_identical_pair_among_many_leaves_the_mean_finite(write_run, pictures, add_noise):
    images = add_noise(pictures, 0.1)
    images[1] = pictures[1]
    run, reference = write_run("run", images), write_run("reference", pictures)
    scores = evaluate(run, reference, find_metrics(METRICS))["metrics"]
    assert (scores["psnr"]["identical"], scores["st_lpips"]["per_sample"]["00001-3"]) == (1, 0)
    assert scores["psnr"]["value"] < 40 and scores["ssim"]["per_sample"]["00001-3"] == pytest.approx(1)


def test_networks_see_the_bytes_of_the_file():
    pixels = torch.arange(256 * 3).remainder(256).byte().view(1, 3, 16, 16)
    (picture,) = as_pil(pixels.float() / 255)
    assert np.array_equal(np.asarray(picture), pixels[0].permute(1, 2, 0).numpy())
    (dark,) = as_pil(torch.full((1, 3, 4, 4), 0.9999 / 255))  # a float that fell short of its byte
    assert np.asarray(dark).min() == 1

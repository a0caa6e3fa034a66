import json
import logging
import shutil

import pytest
import torch

from eval import metrics as registry
from eval import perceptual
from eval.perceptual import MetricUnavailable
from eval.row import row_from_run
from experiments.evaluate import evaluate


@pytest.fixture
def runs(write_run, pictures, add_noise):
    return write_run("run", add_noise(pictures, 0.1)), write_run("reference", pictures)


def test_metrics_json_holds_mean_and_each_sample(runs):
    run, reference = runs
    content = evaluate(run, reference, ["psnr", "ssim", "st_lpips"])
    assert json.loads((run.path / "metrics.json").read_text()) == content
    assert content["reference"] == "reference"
    entry = content["metrics"]["psnr"]
    assert entry["n"] == 2
    assert entry["value"] == pytest.approx(sum(entry["per_sample"].values()) / 2)
    assert entry["per_sample"].keys() == {"00000-3", "00001-3"}
    assert entry["provenance"].startswith("torchmetrics ")


def test_scores_do_not_depend_on_the_batch_size(runs):
    run, reference = runs
    together = evaluate(run, reference, ["psnr", "st_lpips"], batch_size=2)["metrics"]
    (run.path / "metrics.json").unlink()
    apart = evaluate(run, reference, ["psnr", "st_lpips"], batch_size=1)["metrics"]
    for name in together:
        assert together[name]["per_sample"] == pytest.approx(apart[name]["per_sample"], rel=1e-4)


def test_identical_pictures_are_left_out_of_psnr_and_counted(write_run, pictures, add_noise):
    images = add_noise(pictures, 0.1)
    images[0] = pictures[0]
    entry = evaluate(write_run("run", images), write_run("reference", pictures), ["psnr"])["metrics"]["psnr"]
    assert (entry["n"], entry["identical"], entry["per_sample"]["00000-3"]) == (2, 1, "inf")
    assert entry["value"] == entry["per_sample"]["00001-3"] < 30


def test_all_identical_is_infinite_in_valid_json(write_run, pictures):
    run = write_run("run", pictures)
    entry = evaluate(run, write_run("reference", pictures), ["psnr", "ssim"])["metrics"]
    assert (entry["psnr"]["value"], entry["psnr"]["identical"]) == ("inf", 2)
    assert entry["ssim"]["value"] == pytest.approx(1.0)
    assert "identical" not in entry["ssim"]
    json.loads((run.path / "metrics.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_what_was_scored_before_is_kept_until_the_records_change(runs, write_run, add_noise, pictures, caplog):
    run, reference = runs
    first = evaluate(run, reference, ["psnr"])
    with caplog.at_level(logging.INFO):
        both = evaluate(run, reference, ["psnr", "ssim"])
    assert "kept psnr" in caplog.text
    assert both["metrics"]["psnr"] == first["metrics"]["psnr"]
    assert both["metrics"].keys() == {"psnr", "ssim"}
    shutil.rmtree(reference.path)
    again = evaluate(run, write_run("reference", add_noise(pictures, 0.05)), ["psnr"])
    assert again["metrics"].keys() == {"psnr"}
    assert again["metrics"]["psnr"]["value"] != first["metrics"]["psnr"]["value"]


def test_an_unavailable_metric_says_why_and_is_tried_again(runs, monkeypatch, caplog):
    run, reference = runs

    def missing(device):
        raise MetricUnavailable("no weights here")

    monkeypatch.setattr(perceptual, "_lpips_network", missing)
    entry = evaluate(run, reference, ["lpips", "psnr"])["metrics"]
    assert entry["lpips"] == {"value": None, "n": 0, "unavailable": "no weights here"}
    assert entry["psnr"]["n"] == 2
    assert caplog.text.count("no weights here") == 1
    monkeypatch.setattr(perceptual, "_lpips_network", lambda device: lambda a, b, normalize: torch.full((len(a),), 0.5))
    assert evaluate(run, reference, ["lpips"])["metrics"]["lpips"]["value"] == 0.5


def test_an_unknown_metric_or_a_damaged_picture_writes_nothing(runs):
    run, reference = runs
    with pytest.raises(ValueError, match="did you mean 'ssim'"):
        evaluate(run, reference, ["psnr", "sim"])
    path = reference.path / "samples" / "00001-3.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"reference/samples/00001-3\.png.*stage=generate"):
        evaluate(run, reference, ["psnr"])
    assert not (run.path / "metrics.json").exists()


def test_another_provenance_version_scores_again(runs, monkeypatch):
    run, reference = runs
    evaluate(run, reference, ["psnr"])
    monkeypatch.setattr(registry, "version", lambda package: "99")
    assert "torchmetrics 99" in evaluate(run, reference, ["psnr"])["metrics"]["psnr"]["provenance"]


def test_videos_are_scored_in_small_batches_and_the_reference_where_it_needs_none(write_run, videos, add_noise):
    run, reference = write_run("run", add_noise(videos, 0.1)), write_run("reference", videos)
    names = ["psnr", "temporal_flickering"]
    scores = evaluate(run, reference, names, batch_size=2)["metrics"]
    own = evaluate(reference, reference, names)["metrics"]
    assert scores["psnr"]["n"] == 2 and own.keys() == {"temporal_flickering"}
    assert scores["temporal_flickering"]["value"] < own["temporal_flickering"]["value"]
    assert row_from_run(reference).metrics == {"temporal_flickering": own["temporal_flickering"]["value"]}
    assert row_from_run(run, reference, metrics=["psnr"]).metrics.keys() == {"psnr"}


def test_the_reference_is_not_compared_with_itself(runs, caplog):
    _, reference = runs
    with caplog.at_level(logging.INFO):
        assert evaluate(reference, reference, ["psnr"])["metrics"] == {}
    assert "is the reference run" in caplog.text


@pytest.mark.parametrize("text", ["{", "[]", '{"metrics": {}}'])
def test_a_damaged_metrics_file_is_named(runs, text):
    run, reference = runs
    (run.path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=r"run/metrics\.json is damaged"):
        evaluate(run, reference, ["psnr"])

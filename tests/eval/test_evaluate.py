import json
import logging
import shutil

import pytest
import torch

from eval import fidelity, perceptual
from eval import metric as metric_module
from eval import metrics as registry
from eval.metrics import choose_metrics, find_metrics
from eval.row import row_from_run
from experiments.evaluate import evaluate


@pytest.fixture
def runs(write_run, pictures, add_noise):
    return write_run("run", add_noise(pictures, 0.1)), write_run("reference", pictures)


def test_metrics_json_holds_mean_and_each_sample(runs):
    run, reference = runs
    content = evaluate(run, reference, find_metrics(["psnr", "ssim", "st_lpips"]))
    assert json.loads((run.path / "metrics.json").read_text()) == content
    assert content["reference"] == "reference"
    entry = content["metrics"]["psnr"]
    assert entry["n"] == 2
    assert entry["value"] == pytest.approx(sum(entry["per_sample"].values()) / 2)
    assert entry["per_sample"].keys() == {"00000-3", "00001-3"}
    assert entry["provenance"].startswith("torchmetrics ")


def test_scores_do_not_depend_on_the_batch_size(runs):
    run, reference = runs
    together = evaluate(run, reference, find_metrics(["psnr", "st_lpips"]), batch_size=2)["metrics"]
    (run.path / "metrics.json").unlink()
    apart = evaluate(run, reference, find_metrics(["psnr", "st_lpips"]), batch_size=1)["metrics"]
    for name in together:
        assert together[name]["per_sample"] == pytest.approx(apart[name]["per_sample"], rel=1e-4)


def test_identical_pictures_are_left_out_of_psnr_and_counted(write_run, pictures, add_noise):
    images = add_noise(pictures, 0.1)
    images[0] = pictures[0]
    reference = write_run("reference", pictures)
    entry = evaluate(write_run("run", images), reference, find_metrics(["psnr"]))["metrics"]["psnr"]
    assert (entry["n"], entry["identical"], entry["per_sample"]["00000-3"]) == (2, 1, "inf")
    assert entry["value"] == entry["per_sample"]["00001-3"] < 30


def test_all_identical_is_infinite_in_valid_json(write_run, pictures):
    run = write_run("run", pictures)
    entry = evaluate(run, write_run("reference", pictures), find_metrics(["psnr", "ssim"]))["metrics"]
    assert (entry["psnr"]["value"], entry["psnr"]["identical"]) == ("inf", 2)
    assert entry["ssim"]["value"] == pytest.approx(1.0)
    assert "identical" not in entry["ssim"]
    json.loads((run.path / "metrics.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_what_was_scored_before_is_kept_until_the_records_change(runs, write_run, add_noise, pictures, caplog):
    run, reference = runs
    first = evaluate(run, reference, find_metrics(["psnr"]))
    with caplog.at_level(logging.INFO):
        both = evaluate(run, reference, find_metrics(["psnr", "ssim"]))
    assert "kept psnr" in caplog.text
    assert both["metrics"]["psnr"] == first["metrics"]["psnr"]
    assert both["metrics"].keys() == {"psnr", "ssim"}
    shutil.rmtree(reference.path)
    again = evaluate(run, write_run("reference", add_noise(pictures, 0.05)), find_metrics(["psnr"]))
    assert again["metrics"].keys() == {"psnr"}
    assert again["metrics"]["psnr"]["value"] != first["metrics"]["psnr"]["value"]


def test_an_unavailable_metric_says_why_and_is_tried_again(runs, monkeypatch):
    run, reference = runs
    monkeypatch.setattr(metric_module, "what_is_missing", lambda label, files: f"{label} needs more" if files else "")
    entry = evaluate(run, reference, find_metrics(["lpips", "psnr"]))["metrics"]
    assert entry["lpips"] == {"value": None, "n": 0, "unavailable": "LPIPS needs more"}
    assert entry["psnr"]["n"] == 2
    with pytest.raises(ValueError, match=r"metrics\.names: lpips cannot be computed here: LPIPS needs more"):
        choose_metrics(["psnr", "lpips"], [], {}, "picture", "tiny")
    assert len(choose_metrics(["psnr"], ["lpips", "psnr"], {}, "picture", "tiny")) == 2
    monkeypatch.setattr(metric_module, "what_is_missing", lambda label, files: "")
    constant = lambda a, b, normalize: torch.full((len(a),), 0.5)  # noqa: E731
    monkeypatch.setattr(perceptual, "_lpips_network", lambda net, device: constant)
    assert evaluate(run, reference, find_metrics(["lpips"]))["metrics"]["lpips"]["value"] == 0.5


def test_an_unknown_metric_or_a_damaged_picture_writes_nothing(runs):
    run, reference = runs
    with pytest.raises(ValueError, match="did you mean 'ssim'"):
        evaluate(run, reference, find_metrics(["psnr", "sim"]))
    path = reference.path / "samples" / "00001-3.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"reference/samples/00001-3\.png.*stage=generate"):
        evaluate(run, reference, find_metrics(["psnr"]))
    assert not (run.path / "metrics.json").exists()


def test_a_metric_that_breaks_costs_no_other_its_scores(runs, monkeypatch):
    run, reference = runs

    def broken(images, references):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(fidelity, "ssim", broken)
    with pytest.raises(ValueError, match="metrics failed, the others are written. ssim: RuntimeError: out of luck"):
        evaluate(run, reference, find_metrics(["ssim", "psnr"]))
    assert run.metrics()["metrics"].keys() == {"psnr"}
    monkeypatch.setattr(fidelity, "ssim", lambda images, references: torch.full((len(images),), torch.nan))
    with pytest.raises(ValueError, match=r"ssim: ValueError: gave \[nan, nan\] for 2 samples"):
        evaluate(run, reference, find_metrics(["ssim"]))
    assert run.metrics()["metrics"].keys() == {"psnr"}


def test_what_does_not_fit_the_run_is_left_out_or_refused():
    names = [metric.name for metric in choose_metrics(["psnr"], ["temporal_flickering"], {}, "picture", "tiny")]
    assert names == ["psnr"]
    assert len(choose_metrics(["psnr", "psnr"], ["ssim", "ssim"], {}, "picture", "tiny")) == 2
    with pytest.raises(ValueError, match="temporal_flickering scores videos, and tiny makes pictures"):
        choose_metrics(["temporal_flickering"], [], {}, "picture", "tiny")
    with pytest.raises(ValueError, match=r"metrics\.psnr: .*'window'; its settings: none"):
        find_metrics(["psnr"], {"psnr": {"window": 3}})


def test_another_provenance_version_scores_again(runs, monkeypatch):
    run, reference = runs
    evaluate(run, reference, find_metrics(["psnr"]))
    monkeypatch.setattr(registry, "version", lambda package: "99")
    assert "torchmetrics 99" in evaluate(run, reference, find_metrics(["psnr"]))["metrics"]["psnr"]["provenance"]


def test_videos_are_scored_in_small_batches_and_the_reference_where_it_needs_none(write_run, videos, add_noise):
    run, reference = write_run("run", add_noise(videos, 0.1)), write_run("reference", videos)
    names = ["psnr", "temporal_flickering"]
    scores = evaluate(run, reference, find_metrics(names), batch_size=2)["metrics"]
    own = evaluate(reference, reference, find_metrics(names))["metrics"]
    assert scores["psnr"]["n"] == 2 and own.keys() == {"temporal_flickering"}
    assert scores["temporal_flickering"]["value"] < own["temporal_flickering"]["value"]
    assert row_from_run(reference).metrics == {"temporal_flickering": own["temporal_flickering"]["value"]}
    assert row_from_run(run, reference, metrics=["psnr"]).metrics.keys() == {"psnr"}


def test_the_reference_is_not_compared_with_itself(runs, caplog):
    _, reference = runs
    with caplog.at_level(logging.INFO):
        assert evaluate(reference, reference, find_metrics(["psnr"]))["metrics"] == {}
    assert "is the reference run" in caplog.text


@pytest.mark.parametrize("text", ["{", "[]", '{"metrics": {}}'])
def test_a_damaged_metrics_file_is_named(runs, text):
    run, reference = runs
    (run.path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=r"run/metrics\.json is damaged"):
        evaluate(run, reference, find_metrics(["psnr"]))

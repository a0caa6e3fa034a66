"""One run from configuration to table on the embedded model, at a handful of steps."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from eval.row import row_from_run
from experiments import fit
from experiments.compose import compose_config, compose_raw
from experiments.job import Job
from experiments.stages import run_stages
from experiments.tabulate import make_table, publish
from experiments.threshold import resolve_threshold
from meancache.plan import Plan
from meancache.run_folder import RunFolder

SMALL = [
    "model.num_steps=8",
    "prompts.limit=2",
    "calibrate.limit=2",
    "calibrate.seeds=[0]",
    "calibrate.max_span=3",
    "calibrate.batch_size=2",
    "timing={pairs: 1, untimed: 0}",
    "metrics.names=[psnr,ssim]",
]
MEANCACHE = ["method=meancache", "budget=4", "spans=[2,3]"]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One output folder for all tests here: what is made once is shared, as in a sweep."""
    return tmp_path_factory.mktemp("output")


def run(output: Path, *overrides: str):
    return run_stages(Job(compose_config([*SMALL, f"output={output}", *overrides])))


@pytest.fixture(scope="module")
def comparison(output: Path):
    return run(output, *MEANCACHE)


def records(folder: RunFolder) -> list[dict]:
    return [asdict(record) for record in folder.records()]


def test_a_run_folder_explains_itself(comparison):
    files = {path.name for path in comparison.run.path.iterdir()}
    expected = {
        "config.yaml",
        "env.json",
        "plan.json",
        "records.jsonl",
        "DONE",
        "metrics.json",
        "timing.json",
        "grid.png",
        "plan.png",
    }
    assert expected <= files
    assert [record["nfe"] for record in records(comparison.run)] == [4, 4]
    assert [record["nfe"] for record in records(comparison.reference)] == [8, 8]
    scores = json.loads((comparison.run.path / "metrics.json").read_text())["metrics"]
    assert 5 < scores["psnr"]["value"] < 80
    assert 0 < scores["ssim"]["value"] < 1
    assert "torch" in json.loads((comparison.run.path / "env.json").read_text())


def test_a_second_run_does_nothing_again(comparison, output, caplog):
    before = {path: path.stat().st_mtime_ns for path in comparison.run.path.rglob("samples/*")}
    with caplog.at_level("INFO"):
        assert run(output, *MEANCACHE) == comparison
    assert caplog.text.count("reused") == 4  # stability map, reference, run, timing
    assert {path: path.stat().st_mtime_ns for path in comparison.run.path.rglob("samples/*")} == before


def test_damaged_files_are_repaired_with_the_same_pictures(comparison, output):
    picture = comparison.run.path / records(comparison.run)[1]["file"]
    whole = picture.read_bytes()
    picture.write_bytes(whole[:100])
    record = comparison.reference.path / "samples" / f"{records(comparison.reference)[0]['sample']}.json"
    record.write_text("{")
    run(output, *MEANCACHE)
    assert picture.read_bytes() == whole
    assert json.loads(record.read_text())["nfe"] == 8


def test_the_table_holds_reference_and_run(comparison, output):
    fewer = run(output, "method=fewer_steps", "num_steps=4")
    full = run(output, "method=full")
    assert full.run == full.reference == comparison.reference == fewer.reference
    table = make_table([full, fewer, comparison], ["psnr", "ssim"], output)
    assert [row.nfe for row in table.rows] == [8, 4, 4]
    assert table.rows[0].reference
    assert {"table.md", "table.csv", "table.json"} <= {path.name for path in output.iterdir()}


def test_what_is_published_stands_for_itself(comparison, output, tmp_path):
    make_table([comparison], ["psnr", "ssim"], tmp_path / "table")
    publish([comparison], tmp_path / "table", tmp_path / "published")
    files = {str(path.relative_to(tmp_path / "published")) for path in (tmp_path / "published").rglob("*.*")}
    name = f"{comparison.run.name}.json"
    assert {
        "table.md",
        "table.csv",
        "table.json",
        "table.tex",
        "table.html",
        "env.json",
        f"metrics/{name}",
        f"plans/{name}",
        f"timings/{name}",
    } == files
    assert Plan.load(tmp_path / "published" / "plans" / name).budget == 4


def test_budget_of_all_steps_gives_the_reference_pictures(output):
    comparison = run(output, "method=meancache", "budget=8", "spans=[2,3]")
    for mine, theirs in zip(records(comparison.run), records(comparison.reference)):
        assert mine["sha256"] == theirs["sha256"]


def test_samples_do_not_depend_on_batch_or_shard(comparison, output):
    for index in (0, 1):
        batched = run(output, *MEANCACHE, "runtime.batch_size=2", f"shard.index={index}", "shard.count=2")
    single = run(output, *MEANCACHE, "runtime.batch_size=2", "stage=evaluate")
    assert batched == single
    assert json.loads((single.run.path / "metrics.json").read_text())["metrics"]["psnr"]["n"] == 2
    psnr = [
        json.loads((o.run.path / "metrics.json").read_text())["metrics"]["psnr"]["value"] for o in (comparison, single)
    ]
    assert psnr[0] == pytest.approx(psnr[1], abs=0.1)


def test_shards_of_the_map_merge_to_the_same_map(comparison, output, tmp_path):
    job = Job(compose_config([*SMALL, f"output={output}", *MEANCACHE]))
    for index in (1, 0):
        shard = [*MEANCACHE, "stage=calibrate", f"shard.index={index}", "shard.count=2"]
        run_stages(Job(compose_config([*SMALL, f"output={tmp_path}", *shard])))
    sharded = Job(compose_config([*SMALL, f"output={tmp_path}", *MEANCACHE])).stability_map
    torch.testing.assert_close(sharded.costs, job.stability_map.costs, rtol=1e-3, atol=1e-5)
    assert sharded.samples == job.stability_map.samples
    assert (job.calibration / "velocity.png").exists()


def test_stages_out_of_order_say_what_to_run_first(tmp_path):
    with pytest.raises(ValueError, match="run stage=calibrate"):
        run(tmp_path, *MEANCACHE, "stage=generate")
    with pytest.raises(ValueError, match="stage=generate"):
        run(tmp_path, "method=full", "stage=evaluate")


def test_a_plan_for_another_grid_is_refused(comparison, output):
    plan = f"plan={comparison.run.path / 'plan.json'}"
    with pytest.raises(ValueError, match="made for 8 steps .* plan again"):
        run(output, "method=meancache_plan", plan, "model.call.height=48", "model.call.width=48")


def test_constants_of_a_model_are_measured_once_and_by_shards(output, tmp_path, caplog):
    settings = ["stage=fit", f"publish={tmp_path}"]
    assert run(output, *settings, "shard.count=2", "shard.index=0") is None
    assert not list(tmp_path.iterdir())
    run(output, *settings, "shard.count=2", "shard.index=1")
    coefficients = yaml.safe_load((tmp_path / "tiny_flux-teacache.yaml").read_text())["coefficients"]
    ratios = yaml.safe_load((tmp_path / "tiny_flux-ratios.yaml").read_text())["ratios"]
    assert len(coefficients) == 5
    assert len(ratios) == 8
    assert all(0.5 < ratio < 2 for ratio in ratios)
    with caplog.at_level("INFO"):
        run(output, *settings)
    assert caplog.text.count("reused") == 1


def test_a_fit_keeps_settings_and_makes_the_presets_of_a_new_model(output, tmp_path, monkeypatch):
    (tmp_path / "tiny_flux-teacache.yaml").write_text("threshold: 0.3\ncoefficients: [1, 2, 3, 4, 5]\n")
    monkeypatch.setattr(fit, "PRESETS", tmp_path)
    run(output, "stage=fit")
    paths = list(tmp_path.glob("*.yaml"))
    written = {path.stem: yaml.safe_load(path.read_text()) for path in paths}
    assert written["tiny_flux-teacache"]["threshold"] == 0.3
    assert written["tiny_flux-teacache"]["coefficients"] != [1, 2, 3, 4, 5]
    presets = ("tiny_flux-magcache", "tiny_flux-diffusers_magcache")
    assert [written[preset] for preset in presets] == [{"defaults": ["tiny_flux-ratios"]}] * 2
    assert all(path.read_text().startswith("# @package _global_\n# ") for path in paths)


def test_a_threshold_is_searched_for_the_asked_number_of_steps(output, caplog):
    config = compose_raw([*SMALL, f"output={output}", "method=magcache", "match_nfe=5", "warmup_share=0"])
    matched = resolve_threshold(config)
    assert resolve_threshold(config).method == matched.method
    comparison = run_stages(Job(matched))
    assert [record["nfe"] for record in records(comparison.run)] == [5, 5]
    assert "threshold searched for 5 computed steps" in row_from_run(comparison.run, comparison.reference).notes
    with pytest.raises(ValueError, match="match_nfe searches a threshold, and method 'meancache' has none"):
        resolve_threshold(compose_raw([*SMALL, "match_nfe=5"]))


@pytest.mark.parametrize(("guided", "calls"), [([], 2), (["model.call.negative_prompt=null"], 1)])
def test_true_guidance_costs_two_calls_a_computed_step_and_can_be_left_out(output, guided, calls):
    comparison = run(output, "model=tiny_qwen", *MEANCACHE, *guided)
    for folder, nfe in ((comparison.run, 4), (comparison.reference, 8)):
        assert [(record["nfe"], record["denoiser_calls"]) for record in records(folder)] == [(nfe, calls * nfe)] * 2
    assert 5 < json.loads((comparison.run.path / "metrics.json").read_text())["metrics"]["psnr"]["value"] < 80


def test_one_teacache_state_for_both_branches_loses_the_picture_and_one_for_each_keeps_it(output):
    teacache = ["model=tiny_qwen", "model.num_steps=12", "method=teacache", "threshold=0.6"]
    one, each = (run(output, *teacache, f"shared={shared}") for shared in ("true", "false"))
    scores = [json.loads((o.run.path / "metrics.json").read_text())["metrics"]["psnr"]["value"] for o in (one, each)]
    assert scores[0] < 30 < 38 < scores[1]
    assert all(record["nfe"] < 12 for o in (one, each) for record in records(o.run))


def test_flops_count_what_was_computed(comparison):
    run, reference = (records(folder)[0]["flops"] for folder in (comparison.run, comparison.reference))
    assert run["denoiser"] == pytest.approx(reference["denoiser"] / 2)
    assert run["pipeline"] - run["denoiser"] == reference["pipeline"] - reference["denoiser"] > 0

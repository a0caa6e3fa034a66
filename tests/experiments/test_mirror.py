import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from eval.row import row_from_run
from experiments import mirror
from experiments.comparison import Comparison
from experiments.compose import compose_config
from meancache.tracking import NullTracker
from tests.finished_runs import make_run

SETTINGS = {"kind": "wandb", "project": "p", "entity": None, "mode": "offline", "group": None, "name": None}


class Listener:
    """A tracker that remembers what it was told."""

    def __init__(self) -> None:
        self.metrics, self.tables, self.pictures = {}, {}, {}

    def log_metrics(self, metrics):
        self.metrics |= metrics

    def log_table(self, name, rows):
        self.tables[name] = rows

    def log_picture(self, name, path):
        self.pictures[name] = path

    def finish(self): ...


@pytest.fixture
def comparison(tmp_path) -> Comparison:
    full = make_run(tmp_path, "full", "Original")
    scores = {"psnr": [30.0, 20.0, "inf", 40.0]}
    return Comparison(make_run(tmp_path, "fast", "Fast", tint=9, reference=full, scores=scores), full, "Fast")


def test_a_run_is_told_with_intervals_and_every_sample_beside_its_reference(comparison):
    (comparison.run.path / "plan.png").touch()
    listener = Listener()
    mirror.report(listener, comparison)
    assert listener.metrics["psnr"] == 30
    assert listener.metrics["psnr_worst"] == 20
    assert listener.metrics["psnr_low"] < 30 < listener.metrics["psnr_high"]
    rows = listener.tables["samples"]
    assert [row["psnr"] for row in rows] == [30, 20, float("inf"), 40]
    assert rows[1]["sample"] == comparison.run.path / "samples" / "00001-3.png"
    assert rows[1]["reference"] == comparison.reference.path / "samples" / "00001-3.png"
    assert (rows[1]["prompt"], rows[1]["seed"]) == (comparison.run.records()[1].prompt, 3)
    assert list(listener.pictures) == ["plan"]


def test_a_reference_stands_beside_nothing(comparison):
    listener = Listener()
    mirror.report(listener, comparison.of_reference)
    assert "reference" not in listener.tables["samples"][0]


def test_many_samples_are_cut_evenly(comparison, monkeypatch):
    monkeypatch.setattr(mirror, "MOST_SAMPLES", 2)
    listener = Listener()
    mirror.report(listener, comparison)
    assert [row["psnr"] for row in listener.tables["samples"]] == [30, float("inf")]


def test_a_tracker_that_fails_does_not_take_the_run_with_it(comparison, caplog):
    mirror.report(None, comparison)  # type: ignore[arg-type]
    assert "the tracker was not told" in caplog.text


def test_the_same_job_typed_again_is_the_same_run(tmp_path):
    def identity(*overrides):
        return mirror._identity(compose_config([f"output={tmp_path}", "budget=10", *overrides]))

    assert identity() == identity("metrics.names=[psnr]", "tracking=wandb", "stage=evaluate", "label=other")
    assert identity().startswith("tiny_flux-meancache-")
    assert len({identity(), identity("gamma=3"), identity("prompts.limit=3"), identity("shard.count=2")}) == 4
    assert identity() != mirror._identity(compose_config([f"output={tmp_path / 'other'}", "budget=10"]))


def test_the_jobs_of_a_sweep_are_one_group_that_has_one_name(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(mirror, "start", lambda config, **more: seen.append(config.group) or NullTracker())
    overrides = ["method=meancache", "budget=10,15", "tracking=wandb"]
    for name, order in (("first", 1), ("again", -1)):
        mirror.name_group(tmp_path / name, None, overrides[::order], str(tmp_path))
    mirror.name_group(tmp_path / "other", "demo", ["experiment=demo"], str(tmp_path))
    config = compose_config([f"output={tmp_path}", "budget=10"])
    for sweep in (tmp_path / "first", tmp_path / "again", tmp_path / "other", None):
        with mirror.tracker_of(config, sweep):
            pass
    mine = replace(config, tracking=replace(config.tracking, group="mine"))
    with mirror.tracker_of(mine, tmp_path / "first"):
        pass
    assert seen[0] == seen[1] != seen[2]
    assert seen[2].startswith("demo-")
    assert seen[3:] == [None, "mine"]


def test_a_sweep_is_one_more_run_with_its_table(comparison, tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CONFIG_HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    for name in ("WANDB_MODE", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    mirror.name_group(tmp_path / "sweep", "demo", [], str(tmp_path))
    rows = [row_from_run(comparison.reference), row_from_run(comparison.run, comparison.reference)]
    mirror.report_sweep(OmegaConf.create(SETTINGS), rows, tmp_path / "sweep", str(tmp_path))
    (run,) = (tmp_path / "tracking" / "wandb").glob("offline-run-*")
    assert run.name.endswith(f"{mirror.group_of(tmp_path / 'sweep')}-table")
    (table,) = _eventually(run / "files" / "media" / "table", "results*.json")
    content = json.loads(table.read_text())
    assert [row[0] for row in content["data"]] == ["Original", "Fast"]
    assert content["data"][1][content["columns"].index("psnr")] == 30


def _eventually(folder: Path, pattern: str) -> list[Path]:
    """The files, once the service's own process has written them."""
    for _ in range(100):
        if found := list(folder.glob(pattern)):
            return found
        time.sleep(0.2)
    return []

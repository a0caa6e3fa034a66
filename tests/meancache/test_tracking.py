import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from meancache.config import TrackingConfig
from meancache.media import mp4
from meancache.tracking import NullTracker, start

CONFIG = TrackingConfig(kind="wandb", project="meancache", entity=None, mode="offline", group="a sweep", name="a run")


@pytest.fixture(autouse=True)
def _no_account(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, "")  # so that it is put back, whatever the code under test sets
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "NETRC", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.new("RGB", (8, 8), "red").save(path)
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "other.png")
    return path


def _log_everything(tracker, picture):
    tracker.log_config({"label": "MeanCache", "method": {"name": "meancache"}})
    tracker.log_metrics({"psnr": 31.5, "speedup": 4.0})
    video = picture.with_name("video.mp4")
    video.write_bytes(mp4([Image.open(picture).resize((16, 16))] * 3, fps=8))
    row = {"prompt": "a red square", "psnr": float("inf"), "sample": picture}
    tracker.log_table("pictures", [row, {"reference": picture.with_name("other.png")}])
    tracker.log_table("videos", [{"prompt": "a video", "sample": video}])
    tracker.log_picture("plan", picture)
    tracker.finish()


def test_without_tracking_nothing_is_written_and_wandb_is_not_imported(tmp_path, picture):
    tracker = start(replace(CONFIG, kind="none"), folder=tmp_path / "tracking", identity="a", kind="run")
    assert isinstance(tracker, NullTracker)
    _log_everything(tracker, picture)
    assert not (tmp_path / "tracking").exists()
    check = "import sys, meancache.tracking; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def _holds(file: Path, texts: tuple[bytes, ...]) -> bool:
    """Whether the file holds them all; the service's own process may still be writing it on a busy machine."""
    for _ in range(100):
        if all(text in file.read_bytes() for text in texts):
            return True
        time.sleep(0.2)
    return False


def test_offline_needs_no_account_and_keeps_everything(tmp_path, picture):
    for identity in ("one", "two"):  # a sweep opens one after another
        tracker = start(CONFIG, folder=tmp_path / "new" / "tracking", identity=identity, kind="run")
        _log_everything(tracker, picture)
    runs = sorted((tmp_path / "new" / "tracking" / "wandb").glob("offline-run-*"))
    assert len(runs) == 2
    staged = [path.read_bytes() for path in (tmp_path / "new" / "tracking" / "artifacts").rglob("tmp*")]
    for sent_later in (picture, picture.with_name("other.png"), picture.with_name("video.mp4")):
        assert staged.count(sent_later.read_bytes()) == len(runs)
    assert {run.name.rsplit("-", 1)[1] for run in runs} == {"one", "two"}
    for run in runs:
        assert len(list((run / "files" / "media" / "images").rglob("plan*.png"))) == 1
        (table,) = (run / "files" / "media" / "table").glob("pictures*.json")
        assert json.loads(table.read_text())["data"][0][:2] == ["a red square", float("inf")]
        assert _holds(next(run.glob("*.wandb")), (b"psnr", b"31.5", b"MeanCache", b"a sweep"))


@pytest.mark.parametrize(("change", "message"), [({"kind": "tensorboard"}, "kind"), ({"mode": "of"}, "mode")])
def test_unknown_values_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=rf"tracking\.{message} must be"):
        start(replace(CONFIG, **change), folder=tmp_path, identity="a", kind="run")


def test_online_without_an_account_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"did not start.*tracking\.mode=offline"):
        start(replace(CONFIG, mode="online"), folder=tmp_path, identity="a", kind="run")

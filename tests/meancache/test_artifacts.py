"""Files that appear whole, samples that are made once, and jobs that wait for each other."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from meancache.artifacts import SampleStore, content_hash, locked, make_folder, make_missing, write_atomic
from meancache.weights import weights_fingerprint

NAMES = [f"{index:05d}-0" for index in range(6)]


def make_into(store: SampleStore, made: list[str]):
    def make(missing: list[str]) -> None:
        for name in missing:
            made.append(name)
            store.put(name, name.encode(), {"seed": 0})

    return make


def test_what_is_there_is_not_made_again(tmp_path):
    store, made = SampleStore(tmp_path, ".bin"), []
    assert make_missing(store, NAMES, make_into(store, made), (0, 1))
    assert make_missing(store, NAMES, make_into(store, made), (0, 1))
    assert made == NAMES
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert [record["sample"] for record in records] == NAMES
    assert records[2]["file"] == "samples/00002-0.bin"


def test_damaged_samples_and_only_those_are_made_again(tmp_path, caplog):
    store, made = SampleStore(tmp_path, ".bin"), []
    make_missing(store, NAMES, make_into(store, made), (0, 1))
    store.payload(NAMES[1]).write_bytes(b"trunc")
    (store.samples / f"{NAMES[3]}.json").write_text('{"sample": "0000')
    store.payload(NAMES[4]).unlink()
    made.clear()
    assert make_missing(store, NAMES, make_into(store, made), (0, 1))
    assert made == [NAMES[1], NAMES[3], NAMES[4]]
    assert "damaged" in caplog.text


def test_a_lost_copy_to_look_at_is_made_again(tmp_path):
    store = SampleStore(tmp_path, ".png", copy=".mp4")
    make_folder(store.samples)
    store.put("0-0", b"strip", {}, b"video")
    assert store.record("0-0") is not None
    (tmp_path / "samples" / "0-0.mp4").unlink()
    assert store.record("0-0") is None


def test_done_is_written_when_all_shards_are(tmp_path):
    store, made = SampleStore(tmp_path, ".bin"), []
    assert not make_missing(store, NAMES, make_into(store, made), (0, 2))
    assert not (tmp_path / "DONE").exists()
    assert make_missing(store, NAMES, make_into(store, made), (1, 2))
    assert made == NAMES[0::2] + NAMES[1::2]


def _slow_making(folder) -> None:
    store = SampleStore(folder, ".bin")

    def make(missing: list[str]) -> None:
        for name in missing:
            with (folder / "log").open("a") as log:
                log.write(f"{name}\n")
            time.sleep(0.05)
            store.put(name, name.encode(), {})

    make_missing(store, NAMES, make, (0, 1))


def test_jobs_at_once_share_the_work_and_a_killed_one_loses_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    first = context.Process(target=_slow_making, args=(tmp_path,))
    first.start()
    while not (tmp_path / "samples" / f"{NAMES[1]}.json").exists():
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    others = [context.Process(target=_slow_making, args=(tmp_path,)) for _ in range(2)]
    for job in others:
        job.start()
    for job in others:
        job.join()
    log = (tmp_path / "log").read_text().split()
    assert sorted(set(log)) == NAMES
    assert len(log) <= len(NAMES) + 1  # at most the sample that was being made is made again
    assert (tmp_path / "DONE").exists()


def test_a_write_that_dies_leaves_the_old_file(tmp_path, monkeypatch):
    write_atomic(tmp_path / "a", "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"


def test_locks_are_let_go_after_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


def test_an_unwritable_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write to "):
        make_folder(tmp_path / "file" / "folder")


def test_hashes_name_contents(tmp_path):
    assert content_hash({"a": 1, "b": [2]}) == content_hash({"b": [2], "a": 1}) != content_hash({"a": 1, "b": [3]})
    assert weights_fingerprint("owner/name") == "owner/name"
    (tmp_path / "w.safetensors").write_bytes(b"one")
    before = weights_fingerprint(tmp_path)
    (tmp_path / "w.safetensors").write_bytes(b"two")
    assert weights_fingerprint(tmp_path) != before

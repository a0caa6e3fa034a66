"""The process boundary, with workers of a few lines."""

import json
import sys
import textwrap
import time
from pathlib import Path

import pytest

from eval import worker
from eval.worker import Task, Worker, environment_for, read_scores

READ = "import json, os, sys\ntasks = [json.loads(line) for line in open(sys.argv[1])]\n"
SCORE = 'for t in tasks: print(json.dumps({"key": t["key"], "score": len(t["prompt"])}), flush=True)\n'


@pytest.fixture
def write_worker(tmp_path):
    def write(code: str) -> Worker:
        (tmp_path / "script.py").write_text(READ + textwrap.dedent(code))
        return Worker("toy", Path(sys.executable), tmp_path / "script.py")

    return write


def make_tasks(count: int = 4, **facts: str) -> list[Task]:
    return [Task(f"{k:05d}-0", "length", {"prompt": "a" * k, **facts}, {"file": "x.mp4"}) for k in range(count)]


def scored(folder: Path) -> list[int]:
    return [json.loads(line)["score"] for line in (folder / "scores.jsonl").read_text().splitlines()]


def test_each_task_gets_its_line_whatever_the_order(write_worker, tmp_path):
    tasks = make_tasks()
    lines = write_worker("tasks.reverse()\n" + SCORE).scores(tasks, tmp_path / "out", "cpu")
    assert [lines[task.key]["score"] for task in tasks] == [0, 1, 2, 3]


def test_a_worker_that_is_killed_keeps_its_scores_and_goes_on_there(write_worker, tmp_path):
    dies = (
        "tasks = tasks[:2]\n" + SCORE + 'print("out of memory", file=sys.stderr, flush=True)\nos.kill(os.getpid(), 9)\n'
    )
    with pytest.raises(ValueError, match="worker for toy ended with code -9 after 2 of 4 scores.*'out of memory'"):
        write_worker(dies).scores(make_tasks(), tmp_path / "out", "cpu")
    assert scored(tmp_path / "out") == [0, 1]
    with (tmp_path / "out" / "scores.jsonl").open("a") as file:
        file.write('{"key": "cut')  # we were killed ourselves, too
    lines = write_worker("assert len(tasks) == 2\n" + SCORE).scores(make_tasks(), tmp_path / "out", "cpu")
    assert len(lines) == 4 and scored(tmp_path / "out") == [0, 1, 2, 3]
    write_worker("raise SystemExit('nothing is left to do')").scores(make_tasks(), tmp_path / "out", "cpu")


def test_a_score_is_of_its_facts_and_not_of_where_things_lie(write_worker, tmp_path):
    write_worker(SCORE).scores(make_tasks(), tmp_path / "out", "cpu")
    moved = [Task(task.sample, task.part, task.facts, {"file": "elsewhere.mp4"}) for task in make_tasks()]
    write_worker("raise SystemExit('nothing is left to do')").scores(moved, tmp_path / "out", "cpu")
    with pytest.raises(ValueError, match="nothing is left to do"):
        write_worker("raise SystemExit('nothing is left to do')").scores(
            make_tasks(weights="others"), tmp_path / "out", "cpu"
        )


def test_errors_are_data_and_are_tried_again(write_worker, tmp_path):
    fails = 'for t in tasks: print(json.dumps({"key": t["key"], "error": "no such file"}))\n'
    tasks = make_tasks(1)
    assert write_worker(fails).scores(tasks, tmp_path / "out", "cpu")[tasks[0].key]["error"] == "no such file"
    assert write_worker(SCORE).scores(tasks, tmp_path / "out", "cpu")[tasks[0].key]["score"] == 0
    assert read_scores(tmp_path / "out" / "scores.jsonl")[tasks[0].key]["score"] == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import not_installed_anywhere\n", "No module named 'not_installed_anywhere'"),
        ("", "after 0 of 4 scores"),  # it ends well, but says nothing
    ],
)
def test_a_worker_that_does_not_score_is_one_error_with_its_last_words(write_worker, tmp_path, code, words):
    with pytest.raises(ValueError, match=words):
        write_worker(code).scores(make_tasks(), tmp_path / "out", "cpu")


def test_scores_are_on_disk_as_they_come_and_the_worker_ends_with_us(write_worker, tmp_path, monkeypatch):
    def stopped_at_the_second(lines, description, total):
        assert (description, total) == ("toy", 4)
        yield next(lines)
        assert scored(tmp_path / "out") == [0]
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "progress_bar", stopped_at_the_second)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        write_worker(SCORE + "import time; time.sleep(60)").scores(make_tasks(), tmp_path / "out", "cpu")
    assert time.monotonic() - started < 30


def test_the_device_is_handed_on_and_our_packages_are_not(write_worker, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    says = 'seen = [sys.argv[2], os.environ["CUDA_VISIBLE_DEVICES"], PATH in sys.path]\n'.replace(
        "PATH", repr(str(tmp_path))
    )
    tell = 'print(json.dumps({"key": tasks[0]["key"], "score": seen}))'
    (line,) = write_worker(says + tell).scores(make_tasks(1), tmp_path / "out", "cuda:1").values()
    assert line["score"] == ["cuda", "6", False]


def test_a_gpu_is_counted_among_those_that_we_see():
    assert environment_for("cuda:2", {})["CUDA_VISIBLE_DEVICES"] == "2"
    assert environment_for("cuda", {"CUDA_VISIBLE_DEVICES": "3"}) == {"CUDA_VISIBLE_DEVICES": "3"}
    assert environment_for("cpu", {}) == {}


@pytest.mark.parametrize("printed", ["5", "{}", "[1]", "warning: slow", '{"key": "x"}'])
def test_what_is_no_score_is_named_and_never_written_down(write_worker, tmp_path, printed):
    with pytest.raises(ValueError, match="the worker for toy printed .*, which is no score"):
        write_worker(f"print({printed!r}, flush=True)\n" + SCORE).scores(make_tasks(), tmp_path / "out", "cpu")
    assert len(write_worker(SCORE).scores(make_tasks(), tmp_path / "out", "cpu")) == 4


def test_a_damaged_score_file_is_named(tmp_path):
    (tmp_path / "scores.jsonl").write_text("5\n")
    with pytest.raises(ValueError, match="scores.jsonl is damaged .*delete it"):
        read_scores(tmp_path / "scores.jsonl")

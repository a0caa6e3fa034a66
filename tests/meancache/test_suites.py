"""Named suites: copies of their files in a folder of this machine, fetched from a server of our own if allowed."""

import hashlib
import re
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from experiments.compose import compose_config
from experiments.job import Job
from meancache.prompts import load_prompts
from meancache.suites import SUITES, Suite, SuiteFile, calibration_categories, suite_folder

TEXTS = {f"{name}.txt": "".join(f"{name} {i} \n" for i in range(20)) for name in ("left", "right", "up")}
OF_ALL_THREE = tuple(
    SuiteFile(name, hashlib.sha256(text.encode()).hexdigest(), Path(name).stem) for name, text in TEXTS.items()
)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def home(tmp_path):
    """The public home of the suite: a folder served over HTTP on this machine."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def moves(home, tmp_path, monkeypatch):
    """A suite named ``moves``; gives the folder of this machine's copies, which is not there yet."""
    monkeypatch.setenv("MEANCACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(SUITES, "moves", Suite(home[1], OF_ALL_THREE, calibration=("left", "up")))
    return tmp_path / "cache" / "prompts" / "moves"


def test_a_suite_is_fetched_once_and_only_if_allowed(moves, home):
    with pytest.raises(ValueError, match=re.escape("prompts.download=true")) as caught:
        load_prompts("moves")
    assert all(part in str(caught.value) for part in ("left.txt, right.txt, up.txt", home[1], str(moves)))
    assert not moves.exists()
    prompts = load_prompts("moves", download=True)
    assert [(prompt.index, prompt.text, prompt.category) for prompt in prompts[19:21]] == [
        (19, "left 19", "left"),
        (20, "right 0", "right"),
    ]
    assert sorted(path.name for path in moves.iterdir()) == sorted(TEXTS)  # no partial file stays behind
    for name in TEXTS:
        (home[0] / name).unlink()
    assert load_prompts("moves", download=True) == load_prompts("moves") == prompts


def test_copies_of_your_own_serve_and_the_rest_is_fetched(moves, home):
    moves.mkdir(parents=True)
    (moves / "left.txt").write_text(TEXTS["left.txt"])
    (home[0] / "left.txt").unlink()
    with pytest.raises(ValueError, match=r"put right\.txt, up\.txt"):
        load_prompts("moves")
    assert len(load_prompts("moves", download=True)) == 60


def test_other_bytes_than_published_are_refused_and_never_kept(moves, home):
    (home[0] / "right.txt").write_text("something else")
    with pytest.raises(ValueError, match=r"right\.txt gave other bytes than expected: nothing was kept"):
        load_prompts("moves", download=True)
    assert not (moves / "right.txt").exists()
    (home[0] / "right.txt").write_text(TEXTS["right.txt"])
    load_prompts("moves", download=True)
    (moves / "up.txt").write_text("damaged")
    for download in (False, True):  # what you may have put there yourself is not overwritten
        with pytest.raises(ValueError, match=r"up\.txt is not the file that .* holds: delete it"):
            load_prompts("moves", download=download)


def test_a_home_that_does_not_answer_is_one_clear_error(moves, home):
    (home[0] / "left.txt").unlink()
    with pytest.raises(ValueError, match=r"cannot fetch .*left\.txt .*404.* put a copy into"):
        load_prompts("moves", download=True)


def test_calibration_takes_the_suites_own_categories_unless_told_otherwise(moves):
    overrides = ["prompts.file=moves", "prompts.download=true", "calibrate.file=moves", "calibrate.seeds=[0,1]"]

    def categories(samples):
        return Counter(sample.prompt.category for sample in samples)

    assert categories(Job(compose_config([*overrides, "prompts.limit=6"])).samples) == {"left": 2, "right": 2, "up": 2}
    chosen = Job(compose_config([*overrides, "calibrate.limit=10"])).calibration_samples
    assert categories(chosen) == {"left": 10, "up": 10}
    other = Job(compose_config([*overrides, "calibrate.limit=10", "calibrate.categories=[right]"])).calibration_samples
    assert categories(other) == {"right": 20}


def test_calibration_on_t2v_compbench_is_ten_prompts_for_each_of_five_attributes():
    suite = SUITES["t2v_compbench"]
    attributes = [file.category for file in suite.files]
    assert len(attributes) == 7
    chosen = calibration_categories("t2v_compbench")
    assert chosen is not None
    assert len(set(chosen) & set(attributes)) == 5
    assert calibration_categories("drawbench") is None is calibration_categories("mine.txt")


def test_declared_suites_are_pinned():
    for suite in SUITES.values():
        assert re.search(r"/[0-9a-f]{40}/", suite.home)
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in suite.files)


def test_copies_lie_with_the_other_caches(monkeypatch, tmp_path):
    monkeypatch.delenv("MEANCACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert suite_folder("vbench") == Path.home() / ".cache" / "meancache" / "prompts" / "vbench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert suite_folder("vbench") == tmp_path / "meancache" / "prompts" / "vbench"
    monkeypatch.setenv("MEANCACHE_HOME", str(tmp_path / "own"))
    assert suite_folder("vbench") == tmp_path / "own" / "prompts" / "vbench"

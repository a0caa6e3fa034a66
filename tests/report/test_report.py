import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiments.comparison import Comparison
from experiments.report import page
from experiments.report.__main__ import main
from experiments.report.find import find_comparisons
from experiments.report.media import link
from experiments.report.page import write_report
from experiments.report.timeline import timeline_of
from meancache.run_folder import RunFolder
from tests.finished_runs import make_run


def _data(folder: Path) -> dict:
    """What the page hands to its scripts."""
    text = (folder / "index.html").read_text()
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL).group(1))


@pytest.fixture(scope="module")
def report(output, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(find_comparisons([output]), folder, "A title & more")
    return folder


def test_a_report_holds_every_run_score_and_picture(report, output):
    data = _data(report)
    assert [point["label"].split(" with ")[0] for point in data["points"]] == ["Original: 8 steps", "Fast A", "Fast B"]
    assert [metric["name"] for metric in data["metrics"]] == ["psnr", "st_lpips"]
    (group,) = data["groups"]
    assert [run["scores"]["psnr"] for run in group["runs"]] == [[30, 20, "inf", 40], [25, 26, 27, 28]]
    assert group["samples"][1][:3] == ["00001-3", "a <b>bold</b> disc & number 1", 3]
    assert group["size"] == [48, 48]
    for run in ("tiny-full-0", "tiny-fast-a", "tiny-fast-b"):
        copied = report / "media" / run / "00002-3.png"
        assert copied.samefile(output / "runs" / run / "samples" / "00002-3.png")


def test_the_page_needs_nothing_but_its_folder(report):
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.extend(value for name, value in attributes if name in ("src", "href") and not value.startswith("#"))

    Links().feed((report / "index.html").read_text())
    assert found == []


def test_text_of_users_is_escaped(report):
    text = (report / "index.html").read_text()
    assert "<b>bold" not in text
    assert "<h1>A title &amp; more</h1>" in text


def test_the_table_sorts_by_the_value_and_shows_more(report):
    text = (report / "index.html").read_text()
    cells = re.findall(r'<td class="number" data-order="([^"]*)"[^>]*>\s*(?:<strong>)?([^<\s]*)', text)
    assert ("30.0", "30.000") in cells  # PSNR of Fast A, the mean of the finite ones
    assert ("", "–") in cells  # the reference has none
    assert "psnr of a test" in text


def test_large_pictures_and_videos_get_thumbnails(videos, tmp_path):
    full = make_run(tmp_path / "large", "full", "Original", count=1, side=500)
    write_report([Comparison(full, full, "")], tmp_path / "report")
    assert (tmp_path / "report" / "thumbnails" / "full" / "00000-3.jpg").stat().st_size < 20_000
    write_report(find_comparisons([videos]), tmp_path / "video")
    assert _data(tmp_path / "video")["groups"][0]["thumbnails"]
    assert len(list((tmp_path / "video" / "media" / "tiny_video-fast-a").glob("*.mp4"))) == 4
    assert len(list((tmp_path / "video" / "thumbnails" / "tiny_video-fast-a").glob("*.jpg"))) == 4


def test_small_pictures_are_their_own_thumbnails(report):
    assert not _data(report)["groups"][0]["thumbnails"]
    assert not list((report / "thumbnails").rglob("*.jpg"))


def test_steps_come_from_the_records_or_else_from_the_plan(output, tmp_path):
    recorded = timeline_of(RunFolder(output / "runs" / "tiny-fast-a"), "Fast A")
    assert recorded.shares == (1, 0.5, 0, 1, 0, 0, 1, 0)
    assert recorded.words == "Fast A computes 3.5 of 8 steps: 0, 3, 6; in part 1 (50%)"
    planned = timeline_of(RunFolder(output / "runs" / "tiny-fast-b"), "Fast B")
    assert planned.shares == (1, 1, 0, 0, 1, 0, 0, 0)
    assert planned.title(4) == "step 4: computed, K = 3"
    assert planned.title(5) == "step 5: skipped"
    old = make_run(tmp_path / "old", "full", "Original", steps=None)
    assert timeline_of(old, "Original") is None


def test_runs_are_found_by_folder_sweep_and_output(output, tmp_path):
    names = ["tiny-full-0", "tiny-fast-a", "tiny-fast-b"]
    runs = output / "runs"
    assert [c.run.name for c in find_comparisons([output])] == names
    assert [c.run.name for c in find_comparisons([runs])] == names
    assert [c.run.name for c in find_comparisons([runs / "tiny-fast-b", output])] == [names[2], *names[:2]]
    for job, name in (("10", "tiny-fast-a"), ("9", "tiny-fast-b")):
        left = Comparison(RunFolder(runs / name), RunFolder(runs / names[0]), f"job {job}")
        (tmp_path / job).mkdir()
        (tmp_path / job / "comparison.json").write_text(left.to_json())
    found = find_comparisons([tmp_path])
    assert [(c.run.name, c.label) for c in found] == [("tiny-fast-b", "job 9"), ("tiny-fast-a", "job 10")]


def test_a_reference_that_nobody_asked_for_is_shown_too(output, tmp_path):
    write_report(find_comparisons([output / "runs" / "tiny-fast-a"]), tmp_path / "report")
    assert [point["label"] for point in _data(tmp_path / "report")["points"]] == ["Original: 8 steps", "Fast A"]


def test_jobs_that_share_a_run_are_shown_once(output, tmp_path):
    found = find_comparisons([output / "runs" / "tiny-fast-b", output / "runs" / "tiny-fast-a"])
    write_report([found[0], *found], tmp_path / "report")
    data = _data(tmp_path / "report")
    assert [point["run"] for point in data["points"]] == ["tiny-full-0", "tiny-fast-b", "tiny-fast-a"]
    assert [point["values"]["psnr"] for point in data["points"]] == [None, 26.5, 30]


def test_what_cannot_be_shown_is_an_error(output, tmp_path):
    with pytest.raises(ValueError, match="holds no finished and evaluated run"):
        find_comparisons([tmp_path])
    shutil.copytree(output, tmp_path / "tiny")
    run = tmp_path / "tiny" / "runs" / "tiny-fast-a"
    (run / "metrics.json").unlink()
    assert [c.run.name for c in find_comparisons([tmp_path / "tiny"])] == ["tiny-full-0", "tiny-fast-b"]
    with pytest.raises(ValueError, match="is not evaluated"):
        find_comparisons([run])
    shutil.rmtree(tmp_path / "tiny" / "runs" / "tiny-full-0")
    with pytest.raises(ValueError, match="copy it beside the run"):
        find_comparisons([tmp_path / "tiny" / "runs" / "tiny-fast-b"])
    with pytest.raises(ValueError, match="holds runs, which is no part of a report"):
        write_report(find_comparisons([output]), tmp_path / "tiny")


def test_a_report_is_made_again_where_it_was(report, output):
    before = (report / "media" / "tiny-fast-a" / "00000-3.png").stat()
    main([f"runs={output}", f"folder={report}"])
    assert "<h1>tiny</h1>" in (report / "index.html").read_text()
    assert os.path.samestat(before, (report / "media" / "tiny-fast-a" / "00000-3.png").stat())


def test_another_file_system_gets_copies(tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError("cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("new")
    assert link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "new"
    assert not link(tmp_path / "a", tmp_path / "b")
    os.utime(tmp_path / "a", ns=(0, (tmp_path / "b").stat().st_mtime_ns + 1))
    assert link(tmp_path / "a", tmp_path / "b")


def test_a_report_that_fails_leaves_the_table_alone(output, tmp_path, monkeypatch, caplog):
    from experiments import tabulate

    def fail(*arguments, **settings):
        raise RuntimeError("no disk")

    monkeypatch.setattr(page, "write_report", fail)
    tabulate._report(find_comparisons([output]), tmp_path, None)
    assert "no report could be made" in caplog.text


def test_runs_of_two_models_are_compared_with_a_row_where_it_is_one_of_theirs(output, videos, tmp_path):
    comparisons = find_comparisons([output, videos])
    write_report(comparisons, tmp_path / "report", compare_with="Fast A")
    assert (tmp_path / "report" / "index.html").read_text().count("Δ ") == 3  # what it means, and two scores
    with pytest.raises(ValueError, match="compare='Slow' fits no row"):
        write_report(comparisons, tmp_path / "report", compare_with="Slow")
    with pytest.raises(ValueError, match="runs= names nothing"):
        find_comparisons([])


def test_a_damaged_score_is_named_and_one_that_nobody_knows_left_out(output, tmp_path):
    shutil.copytree(output / "runs", tmp_path / "runs")
    path = tmp_path / "runs" / "tiny-fast-a" / "metrics.json"
    content = json.loads(path.read_text())
    content["metrics"]["another_version"] = content["metrics"]["psnr"]
    path.write_text(json.dumps(content))
    write_report(find_comparisons([tmp_path]), tmp_path / "report")
    for damaged in ({"psnr": 5}, {"psnr": {"n": 4}}, [1]):
        path.write_text(json.dumps(content | {"metrics": damaged}))
        with pytest.raises(ValueError, match="metrics.json is damaged"):
            find_comparisons([tmp_path])

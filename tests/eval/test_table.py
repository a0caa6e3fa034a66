import csv
import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from eval.metrics import find_metrics
from eval.row import Row, compared, row_from_run
from eval.speedup import Speedup, speedup_of
from eval.table import Table
from experiments.evaluate import evaluate

REFERENCE = Row("Original, 50 steps", "full", "tiny", 64, 50, 2.0, 2.1, 1.0, 100.0, 60.0, 50.0, {}, reference=True)
FAST = Row(
    "MeanCache (B=10)", "meancache", "tiny", 64, 10, 0.5, 0.6, 4.0, 101.0, 12.0, 10.0, {"psnr": 30.0, "ssim": 0.9}
)
FAST = replace(FAST, wins=("psnr",))
FEWER = Row("Fewer steps [10]", "fewer", "tiny", 64, 10, 0.4, 0.5, 5.0, 99.0, None, None, {"psnr": 25.0, "ssim": 0.95})
FEWER = replace(FEWER, wins=("ssim",))
COUNT = "n = 64 samples a run; seconds are medians per sample"


def _cells(table: Table) -> dict[str, list[str]]:
    lines = [line for line in table.to_markdown().splitlines() if line.startswith("| ")]
    return {cells[0]: cells for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


def test_a_win_is_bold_and_the_reference_is_not_compared():
    cells = _cells(Table((REFERENCE, FAST, FEWER)))
    assert cells["Method"][-2:] == ["PSNR ↑", "SSIM ↑"]
    assert cells["Original, 50 steps"][-2:] == ["-", "-"]
    assert cells["MeanCache (B=10)"][-2:] == ["**30.000**", "0.900"]
    assert cells["Fewer steps [10]"][-2:] == ["25.000", "**0.950**"]
    assert cells["MeanCache (B=10)"][1:10] == ["12", "10", "10", "0.500", "0.600", "4.00x", "n/a", "n/a", "101"]
    assert cells["Fewer steps [10]"][1:3] == ["n/a", "n/a"]


def test_latex_and_html_are_escaped_and_bold():
    table = Table((REFERENCE, replace(FAST, label="A & B_1 <50 %>")), title="T")
    assert r"A \& B\_1 <50 \%> & 12 & 10" in table.to_latex() and r"\textbf{30.000} & 0.900 \\" in table.to_latex()
    assert "<td>A &amp; B_1 &lt;50 %&gt;</td>" in table.to_html() and "<td><b>30.000</b></td>" in table.to_html()


def test_a_papers_values_stand_beside_ours():
    cells = _cells(Table((REFERENCE, replace(FAST, paper={"psnr": 24.834, "speedup": 2.91}))))
    assert cells["MeanCache (B=10)"][-2] == "**30.000** (24.834)"
    assert "4.00x (2.91)" in cells["MeanCache (B=10)"]
    assert "(" not in "".join(cells["Original, 50 steps"][1:])


def test_scores_that_only_the_paper_has_are_shown_as_its_own():
    table = Table((replace(REFERENCE, paper={"image_reward": 1.18}), FAST))
    cells = _cells(table)
    column = cells["Method"].index("ImageReward ↑")
    assert cells["Original, 50 steps"][column] == "n/a (1.18)" and cells["MeanCache (B=10)"][column] == "n/a"
    assert "ImageReward" not in Table((REFERENCE, FAST)).to_markdown()


def _scored(row: Row, name: str, scores: list[float]) -> Row:
    samples = {name: {f"{index:05d}-0": score for index, score in enumerate(scores)}}
    return replace(row, metrics={name: sum(scores) / len(scores)}, samples=samples, wins=())


def test_a_win_is_better_than_every_other_row_on_the_same_samples_by_more_than_the_noise():
    spread = [0.1, 0.9, 0.3, 0.7, 0.5, 0.2]
    worse, better = (_scored(row, "st_lpips", [s + d for s in spread]) for row, d in ((FAST, 0.02), (FEWER, 0.0)))
    assert [row.wins for row in compared([worse, better])] == [(), ("st_lpips",)]
    noisy = _scored(FAST, "st_lpips", [s + d for s, d in zip(spread, (0.2, -0.1, 0.1, -0.2, 0.1, -0.09))])
    assert [row.wins for row in compared([noisy, better])] == [(), ()]
    assert [row.wins for row in compared([worse, better, better])] == [(), (), ()]
    assert compared([worse])[0].wins == ()
    assert [row.wins for row in compared([worse, replace(better, against="another model's run")])] == [(), ()]


def test_differences_are_from_the_row_that_was_chosen():
    rows = [
        _scored(row, "psnr", [shift + score for score in (30, 20, 25, 22, 31, 28)])
        for row, shift in ((FAST, 2.0), (FEWER, 0.0))
    ]
    first, second = compared(rows, "fewer")
    assert first.differences["psnr"] == pytest.approx((2, 2, 2)) and second.differences == {}
    text = Table([first, second], compared_with=second.label).to_markdown()
    assert "Difference from Fewer steps [10] on the same prompts" in text and "+2.000 [+2.000, +2.000]" in text
    with pytest.raises(ValueError, match="compare='steps' fits 2 rows; the labels are: "):
        compared([replace(row, label=f"steps {row.nfe} {row.method}") for row in rows], "steps")
    with pytest.raises(ValueError, match="compare='Tea' fits no row"):
        compared(rows, "Tea")


def test_a_row_whose_reward_falls_has_a_dagger():
    fallen = replace(FAST, from_reference={"scene_reward": (-0.6, -0.8, -0.4)})
    table = Table((fallen, replace(FEWER, from_reference={"scene_reward": (-0.4, -0.6, -0.2)})))
    assert "MeanCache (B=10) †" in table.to_markdown() and "Fewer steps [10] †" not in table.to_markdown()
    assert table.notes[-1].startswith("†: reward more than 0.3 below")


def test_an_unavailable_metric_is_na_with_its_reason_under_the_table():
    rows = [replace(row, metrics={"lpips": None}, notes=("LPIPS is n/a: no weights",)) for row in (FAST, FEWER)]
    table = Table((REFERENCE, *rows))
    assert "LPIPS ↓" not in table.to_markdown()
    with_papers = Table((REFERENCE, replace(rows[0], paper={"lpips": 0.142}), rows[1]))
    assert _cells(with_papers)["MeanCache (B=10)"][-1] == "n/a (0.142)"
    assert table.to_markdown().count("LPIPS is n/a: no weights") == 1
    assert table.notes == [COUNT, "LPIPS is n/a: no weights"]


def test_a_note_about_one_row_names_it():
    table = Table((FAST, replace(FEWER, notes=("timed elsewhere",))))
    assert table.notes == [COUNT, "Fewer steps [10]: timed elsewhere"]


def test_a_missing_score_is_an_error_not_an_empty_cell():
    with pytest.raises(ValueError, match=r"'Fewer steps \[10\]' lacks ssim"):
        Table((FAST, replace(FEWER, metrics={"psnr": 25.0})))
    with pytest.raises(ValueError, match="at least one row"):
        Table(())


def test_provenance_is_named_and_must_agree():
    scored = replace(FAST, provenance={"psnr": "scorer 1"})
    assert "PSNR: scorer 1" in Table((scored, FEWER)).to_markdown()
    with pytest.raises(ValueError, match="psnr was computed by scorer 1 and by scorer 2"):
        Table((scored, replace(FEWER, provenance={"psnr": "scorer 2"})))


def test_the_terminal_shows_labels_as_they_are_and_the_best_in_bold():
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    console.print(Table((REFERENCE, FAST, FEWER), title="FLUX.1 [dev]").to_rich())
    text = console.file.getvalue()
    assert "Fewer steps [10]" in text
    assert "FLUX.1 [dev]" in text
    assert "\x1b[1m30.000\x1b[0m" in text
    assert "\x1b[1m25.000" not in text


def test_csv_and_json_hold_everything(tmp_path):
    exact = replace(FAST, metrics={"psnr": math.inf, "ssim": 1 / 3}, notes=("a, b",))
    table = Table((REFERENCE, exact, FEWER), "Title", "Caption")
    table.save(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        f"table.{suffix}" for suffix in ("csv", "html", "json", "md", "tex")
    ]
    text = (tmp_path / "new" / "table.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert Table.from_json(text) == table
    rows = list(csv.DictReader((tmp_path / "new" / "table.csv").open()))
    assert [row["psnr"] for row in rows] == ["-", "inf", "25.0"]
    assert float(rows[1]["ssim"]) == 1 / 3
    assert rows[1]["notes"] == "a, b"


@pytest.fixture
def runs(write_run, pictures, add_noise):
    """A reference and an evaluated run with one identical picture."""
    images = add_noise(pictures, 0.1)
    images[0] = pictures[0]
    reference = write_run("reference", pictures, nfe=50)
    run = write_run("run", images, label="MeanCache (B=10)", batch_size=2, device="another processor")
    evaluate(run, reference, find_metrics(["psnr", "ssim"]))
    ratios = (4.0, 3.9, 4.2, 4.1, 3.8, 9.0)
    seconds = {
        "reference": [{"denoise": 0.25 * ratio, "total": 0.3 * ratio} for ratio in ratios],
        "run": [{"denoise": 0.25, "total": 0.3}] * len(ratios),
    }
    timing = {"identity": "", "reference": "reference", "interleaved": True, "seconds": seconds}
    run.write("timing.json", json.dumps(timing))
    return run, reference


def test_a_row_tells_what_the_run_folder_holds(runs):
    run, reference = runs
    row = row_from_run(run, reference)
    assert (row.label, row.method, row.model, row.num_samples, row.nfe) == ("MeanCache (B=10)", "run", "tiny", 2, 10)
    assert (row.denoise_seconds, row.total_seconds, row.speedup, row.peak_memory_mib) == (0.25, 0.3, 4.05, 101.0)
    assert (row.interval, row.limit, row.beyond_limit) == ("3.80 to 9.00", 5.0, False)
    assert row.metrics.keys() == {"psnr", "ssim"}
    assert row.notes[0] == "PSNR leaves out 1 of 2 pictures, identical to the reference"
    assert "median of 6 ratios, timed in turns" in row.notes[1]
    original = row_from_run(reference)
    assert (original.reference, original.speedup, original.metrics) == (True, 1.0, {})
    assert row_from_run(reference, reference) == original


def test_a_run_that_was_not_timed_against_this_reference_has_no_speedup(runs):
    run, reference = runs
    run.write(
        "timing.json", (run.path / "timing.json").read_text().replace('"reference": "ref', '"reference": "other ref')
    )
    row = row_from_run(run, reference)
    assert row.speedup is None and row.limit == 5.0
    assert "not timed: run stage=time" in row.notes[1]


def test_a_speedup_beyond_its_limit_is_marked():
    table = Table((REFERENCE, replace(FAST, speedup=5.3, limit=5.0), replace(FEWER, speedup=4.9, limit=5.0)))
    cells = _cells(table)
    assert cells["MeanCache (B=10)"][6] == "5.30x !" and cells["Fewer steps [10]"][6] == "4.90x"


def test_the_interval_holds_the_median_in_95_percent_of_cases():
    assert speedup_of([3.0] * 5, [1.0, 2.0, 1.0, 1.0, 1.5]) == Speedup(3.0, 1.5, 3.0, 5)
    twenty = speedup_of([float(k) for k in range(1, 21)], [1.0] * 20)
    assert (twenty.median, twenty.low, twenty.high) == (10.5, 6.0, 15.0)  # the 6th and the 15th, as in tables
    with pytest.raises(ValueError, match="needs pairs, got 2 and 1 times"):
        speedup_of([1.0, 2.0], [1.0])


def test_a_row_of_a_run_that_is_not_evaluated_is_refused(runs, write_run, pictures):
    run, reference = runs
    with pytest.raises(ValueError, match=r"metrics\.json is missing.*stage=evaluate"):
        row_from_run(write_run("new", pictures), reference)
    with pytest.raises(ValueError, match=r"against reference .*stage=evaluate"):
        row_from_run(run, write_run("other", pictures))
    with (run.path / "records.jsonl").open("a") as file:
        file.write((run.path / "records.jsonl").read_text().splitlines()[0].replace('"seed": 3', '"seed": 4') + "\n")
    with pytest.raises(ValueError, match="other records"):
        row_from_run(run, reference)


def test_a_row_of_an_unfinished_or_nameless_run_is_refused(runs):
    run, reference = runs
    (run.path / "config.yaml").write_text("label: x\n")
    with pytest.raises(ValueError, match=r"config\.yaml does not name"):
        row_from_run(run, reference)
    (reference.path / "DONE").unlink()
    with pytest.raises(ValueError, match="not a finished run"):
        row_from_run(reference)


def test_the_table_names_the_row_that_was_chosen_and_not_one_of_another_model():
    spread = [0.1, 0.9, 0.3, 0.7, 0.5, 0.2]
    other = [replace(_scored(FAST, "psnr", spread), against="x", label=label) for label in "AB"]
    own = [replace(_scored(FAST, "psnr", [s + d for s in spread]), against="y", label=f"C{d}") for d in (1, 2)]
    rows = compared([*other, *own], "C2")
    assert [bool(row.differences) for row in rows] == [False, False, True, False]
    table = Table(rows, compared_with="C2")
    assert "Difference from C2 on" in Table.from_json(table.to_json()).to_markdown()
    with pytest.raises(ValueError, match="compare='A': no other row has a score in common with 'A'"):
        compared([other[0], *own], "A")


def test_a_row_is_compared_with_the_reference_where_that_has_scores():
    spread = [0.1, 0.9, 0.3, 0.7, 0.5, 0.2]
    reference = replace(_scored(REFERENCE, "image_reward", spread), run="r")
    row = replace(_scored(FAST, "image_reward", [s - 0.1 for s in spread]), against="r")
    assert compared([reference, row], "Original")[1].differences["image_reward"][0] == pytest.approx(-0.1)


def test_scores_computed_in_two_ways_are_not_compared():
    spread = [0.1, 0.9, 0.3, 0.7, 0.5, 0.2]
    worse, better = (_scored(row, "lpips", [s + d for s in spread]) for row, d in ((FAST, 0.02), (FEWER, 0.0)))
    alex, vgg = replace(worse, provenance={"lpips": "alex"}), replace(better, provenance={"lpips": "vgg"})
    assert [row.wins for row in compared([alex, vgg])] == [(), ()]
    with pytest.raises(ValueError, match="no other row has a score in common"):
        compared([alex, vgg], alex.label)

"""The paper's figures, from the runs of its experiments."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

from PIL import Image

from eval.row import row_from_run
from experiments.compose import compose_config
from experiments.figures.files import write_figure
from experiments.figures.grid import compose_grid, header_of, picture_of
from experiments.figures.plans import draw_plans
from experiments.job import Job
from experiments.reproduce.sweeps import Sweep
from meancache.planner import PlanRequest, plan_path
from meancache.run_folder import Record, RunFolder

MOST_RATIOS = 5


def draw_figure(entry: Mapping[str, Any], sweep: Sweep, extra: Sequence[str], out: Path) -> None:
    """Draw a figure of paper.yaml as a PNG."""
    {"pictures": _pictures, "ratios": _ratios, "velocity": _velocity, "plans": _plans, "tradeoff": _tradeoff}[
        entry["draw"]
    ](entry, sweep, extra, out)


def _pictures(entry: Mapping[str, Any], sweep: Sweep, extra: Sequence[str], out: Path) -> None:
    """A column for the reference and each row, a line for each prompt."""
    runs = [sweep.reference, *(sweep.find(words)[0].run for words in entry["rows"])]
    records = runs[0].records()
    step, count = max(1, len(records) // 8), min(entry["prompts"], len(records))
    chosen = [records[(entry["first"] + line) * step % len(records)] for line in range(count)]
    lines = [[_picture(run, record) for run in runs] for record in chosen]
    rows = [row_from_run(sweep.reference), *(sweep.rows(words)[0] for words in entry["rows"])]
    headers = [header_of(row) for row in rows]
    captions = [record.prompt for record in chosen]
    write_figure(out, lambda file: compose_grid(lines, captions, headers).save(file, format="PNG"))


def _ratios(entry: Mapping[str, Any], sweep: Sweep, extra: Sequence[str], out: Path) -> None:
    """A line for each method, its runs from slow to fast, all of one prompt."""
    record = _prompt(sweep.reference.records(), entry)
    lines, captions = [], []
    for words in entry["rows"]:
        rows = sorted(zip(sweep.rows(words), sweep.find(words)), key=lambda pair: -pair[0].nfe)[:MOST_RATIOS]
        runs = [sweep.reference, *(comparison.run for _, comparison in rows)]
        lines.append([_picture(run, record) for run in runs])
        name = rows[0][0].label.split()[0].removesuffix(":")
        captions.append(f"{name}: NFE " + ", ".join(f"{row.nfe:.3g}" for row, _ in rows))
    longest = max(len(line) for line in lines)
    blank = Image.new("RGB", lines[0][0].size, "white")
    lines = [line + [blank] * (longest - len(line)) for line in lines]
    headers = [(record.prompt, "reference"), *(("", "faster →" if k == 1 else "") for k in range(1, longest))]
    write_figure(out, lambda file: compose_grid(lines, captions, headers).save(file, format="PNG"))


def _velocity(entry: Mapping[str, Any], sweep: Sweep, extra: Sequence[str], out: Path) -> None:
    copyfile(_job(sweep, extra).calibration / "velocity.png", out)


def _plans(entry: Mapping[str, Any], sweep: Sweep, extra: Sequence[str], out: Path) -> None:
    stability = _job(sweep, extra).stability_map
    draw_plans([plan_path(stability, PlanRequest(budget)) for budget in sorted(entry["budgets"], reverse=True)], out)


def _tradeoff(entry: Mapping[str, Any], sweep: Sweep, extra: Sequence[str], out: Path) -> None:
    copyfile(sweep.folder / "tradeoff.png", out)


def _job(sweep: Sweep, extra: Sequence[str]) -> Job:
    """A MeanCache job of the sweep's model and settings, to find its calibration."""
    output = sweep.reference.path.parents[1]
    return Job(compose_config([f"model={sweep.model}", "method=meancache", f"output={output}", *extra]))


def _picture(run: RunFolder, record: Record) -> Any:
    return picture_of(run, next(other for other in run.records() if other.key == record.key))


def _prompt(records: Sequence[Record], entry: Mapping[str, Any]) -> Record:
    """The paper's word where the suite has it; else one of its rare words, or any prompt."""
    word = entry.get("word")
    named = [record for record in records if word and word.lower() in record.prompt.lower()]
    rare = [record for record in records if word and record.category.lower() == "rare words"]
    some = named[:1] or (rare[entry["pick"] % len(rare) :] if rare else list(records)[entry["pick"] % len(records) :])
    return some[0]

"""Tabulate: runs -> one table, at the end of a job and, for a sweep, of all its jobs together."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path
from shutil import copyfile
from typing import Any

import yaml
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from eval.rows import row_from_run
from eval.table import Table
from experiments.figures.grid import side_by_side
from experiments.figures.plans import draw_plans
from experiments.figures.tradeoff import draw_tradeoff
from experiments.stages import Outcome
from meancache.artifacts import make_folder, write_atomic
from meancache.plan import Plan

log = logging.getLogger(__name__)

WIDTH_OF_LOGS = 150
RUNS_IN_A_GRID = 7
OUTCOME, FAILURE = "outcome.json", "error.txt"  # a job leaves one in its Hydra folder for the sweep's table


def make_table(
    outcomes: Sequence[Outcome], metrics: Sequence[str], folder: Path, paper: Sequence[Mapping[str, float]] = ()
) -> Table:
    """One row a run, in the order given, with a paper's values; written to ``folder`` as Markdown, CSV and JSON."""
    rows = [row_from_run(o.run, o.reference, label=o.label, metrics=metrics) for o in outcomes]
    rows = [replace(row, paper=values) for row, values in zip_longest(rows, paper, fillvalue={})]  # type: ignore
    references = [row_from_run(reference) for reference in dict.fromkeys(o.reference for o in outcomes)]
    told = [f"{row.label}, {row.denoise_seconds:.3f} s denoising a sample" for row in references]
    title = ", ".join(dict.fromkeys(row.model for row in references))
    table = Table(tuple(rows), title=title, caption=f"reference: {'; '.join(told)}")
    table.save(folder)
    return table


def show(table: Table, folder: Path) -> None:
    console = Console()
    if not console.is_terminal:  # a log file has no width to keep to
        console = Console(width=WIDTH_OF_LOGS)
    console.print(table.to_rich())
    log.info("table, pictures: %s", folder)


def publish(outcomes: Sequence[Outcome], folder: Path, target: Path) -> None:
    """Copy what is worth committing: tables, pictures, hardware and versions, plans, and the scores of every sample."""
    make_folder(target / "metrics")
    for source in (*folder.glob("table.*"), *folder.glob("*.png")):
        copyfile(source, target / source.name)
    copyfile(outcomes[0].reference / "env.json", target / "env.json")
    for outcome in outcomes:
        copyfile(outcome.run / "metrics.json", target / "metrics" / f"{outcome.run.name}.json")
        if (outcome.run / "plan.json").exists():
            copyfile(outcome.run / "plan.json", make_folder(target / "plans") / f"{outcome.run.name}.json")
    log.info("published: %s", target)


def remember(outcome: Outcome, folder: Path) -> None:
    """Leave the job's outcome where the sweep's callback finds it."""
    write_atomic(folder / OUTCOME, json.dumps({key: str(value) for key, value in asdict(outcome).items()}))


class SweepTable(Callback):
    """Hydra callback: when a multirun ends, one table and one set of pictures of all its jobs.

    Jobs that failed are named below the table and fail the sweep. Hydra makes warnings of a callback's exceptions, so
    it leaves with sys.exit.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        jobs = sorted((job for job in folder.iterdir() if job.name.isdigit()), key=lambda job: int(job.name))
        done = [job for job in jobs if (job / OUTCOME).exists()]
        outcomes = [_recall(job / OUTCOME) for job in done]
        failures = [f"job {job.name}: {(job / FAILURE).read_text()}" for job in jobs if (job / FAILURE).exists()]
        try:
            if outcomes:
                _conclude(outcomes, config, folder, [int(job.name) for job in done])
        except (ValueError, OSError) as error:
            failures.append(f"table: {error}")
        if failures:
            sys.exit("\n".join(f"error: {failure}" for failure in failures))


def _recall(file: Path) -> Outcome:
    content = json.loads(file.read_text())
    return Outcome(Path(content["run"]), Path(content["reference"]), content["label"])


def paper_values(config: DictConfig, jobs: Sequence[int]) -> list[Mapping[str, float]]:
    """A paper's values for these jobs, if there are any and they are for the model at hand."""
    if config.paper is None:
        return []
    content = yaml.safe_load(Path(config.paper).read_text())
    if content["model"] != config.model.name:
        return []
    if max(jobs) >= len(content["rows"]):
        raise ValueError(f"{config.paper} has {len(content['rows'])} rows, but the sweep had more jobs")
    return [content["rows"][job] for job in jobs]


def _grids(outcomes: Sequence[Outcome]) -> Iterator[list[Path]]:
    """The columns of each picture grid: a reference and the next few runs that answer it."""
    for reference in dict.fromkeys(outcome.reference for outcome in outcomes):
        runs = list(dict.fromkeys(o.run for o in outcomes if o.reference == reference and o.run != reference))
        for start in range(0, len(runs), RUNS_IN_A_GRID):
            yield [reference, *runs[start : start + RUNS_IN_A_GRID]]


def _conclude(outcomes: Sequence[Outcome], config: DictConfig, folder: Path, jobs: Sequence[int]) -> None:
    table = make_table(outcomes, config.metrics.names, folder, paper_values(config, jobs))
    show(table, folder)
    columns = list(_grids(outcomes))
    for number, runs in enumerate(columns):
        name = "grid.png" if len(columns) == 1 else f"grid-{number}.png"
        side_by_side(runs, folder / name, limit=4)
    if sum(not row.reference for row in table.rows) > 1:
        draw_tradeoff(table.rows, folder / "tradeoff.png")
    plans = [Plan.load(o.run / "plan.json") for o in outcomes if (o.run / "plan.json").exists()]
    if plans:
        draw_plans(plans, folder / "plans.png")
    if config.publish:
        publish(outcomes, folder, Path(config.publish))

"""Tabulate: runs -> one table, at the end of a job and, for a sweep, of all its jobs together."""

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from eval.row import Row, compared, find_row, row_from_run
from eval.table import Table
from experiments.comparison import Comparison
from experiments.mirror import name_group, report_sweep
from experiments.rows import make_rows, timed_row
from meancache.artifacts import make_folder, write_atomic
from meancache.run_folder import RunFolder

log = logging.getLogger(__name__)

WIDTH_OF_LOGS = 150
RUNS_IN_A_GRID = 7
COMPARISON, FAILURE = "comparison.json", "error.txt"  # a job leaves one in its Hydra folder for the sweep's table


def make_table(
    comparisons: Sequence[Comparison], metrics: Sequence[str], folder: Path, compare_with: str | None = None
) -> Table:
    """One row a run, in the order given; written to ``folder`` as Markdown, LaTeX, HTML, CSV and JSON.

    Args:
        comparisons: the runs.
        metrics: names of the scores to show.
        folder: where it is written.
        compare_with: label of the row whose scores are taken off the others'.
    """
    runs = [c.run for c in comparisons]
    rows = make_rows(comparisons, metrics)
    references = {c.reference.path: c.of_reference for c in comparisons}.values()
    timed = [timed_row(row_from_run(c.run), c, runs) for c in references]
    title = ", ".join(dict.fromkeys(row.model for row in timed))
    caption = f"reference: {'; '.join(map(_in_words, timed))}"
    compared_with = "" if compare_with is None else find_row(rows, compare_with).label
    table = Table(compared(rows, compare_with), title, caption, compared_with)
    table.save(folder)
    return table


def metric_names(config: Any) -> list[str]:
    """The scores that a table of this configuration shows."""
    return [*config.metrics.names, *config.metrics.where_possible]


def _in_words(row: Row) -> str:
    seconds = "not timed" if row.denoise_seconds is None else f"{row.denoise_seconds:.3f} s denoising a sample"
    return f"{row.label}, {seconds}"


def show(table: Table, folder: Path) -> None:
    console = Console()
    if not console.is_terminal:  # a log file has no width to keep to
        console = Console(width=WIDTH_OF_LOGS)
    console.print(table.to_rich())
    log.info("table, pictures: %s", folder)


def publish(comparisons: Sequence[Comparison], folder: Path, target: Path) -> None:
    """Copy what is worth committing: tables, pictures, hardware and versions, plans, timings, scores."""
    make_folder(target)
    for source in (*folder.glob("table.*"), *folder.glob("*.png")):
        copyfile(source, target / source.name)
    copyfile(comparisons[0].reference.path / "env.json", target / "env.json")
    for run in dict.fromkeys(c.run for c in comparisons):
        for file, room in (("metrics.json", "metrics"), ("plan.json", "plans"), ("timing.json", "timings")):
            if (run.path / file).exists():
                copyfile(run.path / file, make_folder(target / room) / f"{run.name}.json")
    log.info("published: %s", target)


def leave_for_sweep(comparison: Comparison, folder: Path) -> None:
    """Leave what the job made where the sweep's callback finds it."""
    write_atomic(folder / COMPARISON, comparison.to_json())


class SweepTable(Callback):
    """Hydra callback: when a multirun ends, one table and one set of pictures of all its jobs.

    Jobs that failed are named below the table and fail the sweep. Hydra makes warnings of a callback's exceptions, so
    it leaves with sys.exit.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        experiment = config.hydra.runtime.choices.get("experiment")
        name_group(Path(config.hydra.sweep.dir), experiment, config.hydra.overrides.task, config.output)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        jobs = sorted((job for job in folder.iterdir() if job.name.isdigit()), key=lambda job: int(job.name))
        done = [job / COMPARISON for job in jobs if (job / COMPARISON).exists()]
        failures = [f"job {job.name}: {(job / FAILURE).read_text()}" for job in jobs if (job / FAILURE).exists()]
        try:
            if done:
                _conclude([Comparison.from_json(file.read_text()) for file in done], config, folder)
        except (ValueError, OSError) as error:
            failures.append(f"table: {error}")
        if failures:
            sys.exit("\n".join(f"error: {failure}" for failure in failures))


def _grids(comparisons: Sequence[Comparison]) -> Iterator[list[RunFolder]]:
    """The columns of each picture grid: a reference and the next few runs that are measured against it."""
    for reference in dict.fromkeys(c.reference for c in comparisons):
        runs = list(dict.fromkeys(c.run for c in comparisons if c.reference == reference and c.run != reference))
        for start in range(0, len(runs), RUNS_IN_A_GRID):
            yield [reference, *runs[start : start + RUNS_IN_A_GRID]]


def _conclude(comparisons: Sequence[Comparison], config: DictConfig, folder: Path) -> None:
    from experiments.figures.grid import side_by_side
    from experiments.figures.plans import draw_plans
    from experiments.figures.tradeoff import draw_tradeoff
    from meancache.plan import Plan

    table = make_table(comparisons, metric_names(config), folder, config.compare)
    show(table, folder)
    columns = list(_grids(comparisons))
    for number, runs in enumerate(columns):
        name = "grid.png" if len(columns) == 1 else f"grid-{number}.png"
        side_by_side(runs, folder / name, limit=4)
    if sum(not row.reference for row in table.rows) > 1:
        draw_tradeoff(table.rows, folder / "tradeoff.png")
    plans = [Plan.load(path) for c in comparisons if (path := c.run.path / "plan.json").exists()]
    if plans:
        draw_plans(plans, folder / "plans.png")
    if config.report:
        _report(comparisons, folder / "report", config.compare)
    report_sweep(config.tracking, table.rows, folder, config.output)
    if config.publish:
        publish(comparisons, folder, Path(config.publish))


def _report(comparisons: Sequence[Comparison], folder: Path, compare_with: str | None) -> None:
    """The page to look at. The table is written by now and stands, whatever happens here."""
    from experiments.report.page import write_report

    try:
        log.info("report: %s", write_report(comparisons, folder, compare_with=compare_with))
    except Exception:
        log.warning("no report could be made in %s; the table and the runs stand", folder, exc_info=True)

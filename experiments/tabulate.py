"""Tabulate: runs -> one table, at the end of a job and, for a sweep, of all its jobs together."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from eval.rows import row_from_run
from eval.table import Table
from experiments.figures.grid import side_by_side
from experiments.figures.plans import draw_plans
from experiments.stages import Outcome
from meancache.artifacts import make_folder, write_atomic
from meancache.plan import Plan

log = logging.getLogger(__name__)

WIDTH_OF_LOGS = 150
JOB_FILE = "outcome.json"  # a job leaves it in its Hydra folder; the sweep's table is made from them


def make_table(outcomes: Sequence[Outcome], folder: Path) -> Table:
    """One row a run, in the order given; written to ``folder`` as Markdown, CSV and JSON."""
    rows = [row_from_run(o.run, None if o.run == o.reference else o.reference) for o in outcomes]
    reference = row_from_run(outcomes[0].reference)
    caption = f"reference: {reference.label}, {reference.denoise_seconds:.3f} s denoising a picture"
    table = Table(tuple(rows), title=reference.model, caption=caption)
    table.save(folder)
    return table


def show(table: Table, folder: Path) -> None:
    console = Console()
    if not console.is_terminal:  # a log file has no width to keep to
        console = Console(width=WIDTH_OF_LOGS)
    console.print(table.to_rich())
    log.info("table, pictures: %s", folder)


def publish(outcomes: Sequence[Outcome], folder: Path, target: Path) -> None:
    """Copy what is worth committing: the table, its pictures, hardware and versions, and the scores of every sample."""
    make_folder(target / "metrics")
    for name in ("table.md", "table.csv", "table.json", "grid.png", "plan.png", "plans.png"):
        if (folder / name).exists():
            copyfile(folder / name, target / name)
    copyfile(outcomes[0].reference / "env.json", target / "env.json")
    for outcome in outcomes:
        copyfile(outcome.run / "metrics.json", target / "metrics" / f"{outcome.run.name}.json")
    log.info("published: %s", target)


def remember(outcome: Outcome, folder: Path) -> None:
    """Leave the job's outcome where the sweep's callback finds it."""
    write_atomic(folder / JOB_FILE, json.dumps({"run": str(outcome.run), "reference": str(outcome.reference)}))


class SweepTable(Callback):
    """Hydra callback: when a multirun ends, one table and one set of pictures of all its jobs."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        files = sorted(folder.glob(f"*/{JOB_FILE}"), key=lambda file: int(file.parent.name))
        outcomes = [Outcome(**{k: Path(v) for k, v in json.loads(file.read_text()).items()}) for file in files]
        if not outcomes:
            return
        table = make_table(outcomes, folder)
        _draw(outcomes, folder)
        show(table, folder)
        if config.publish:
            publish(outcomes, folder, Path(config.publish))


def _draw(outcomes: Sequence[Outcome], folder: Path) -> None:
    runs = list(dict.fromkeys([outcomes[0].reference, *(outcome.run for outcome in outcomes)]))
    if len(runs) > 1:
        side_by_side(runs, folder / "grid.png")
    plans = [Plan.load(run / "plan.json") for run in runs if (run / "plan.json").exists()]
    if plans:
        draw_plans(plans, folder / "plans.png")

"""Runs of an experiment, made by `run.py` where they are missing, with the words that name each of them."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from eval.row import Row
from eval.table import Table
from experiments.comparison import Comparison
from experiments.compose import CONF
from experiments.rows import make_rows
from experiments.tabulate import COMPARISON
from meancache.run_folder import RunFolder

log = logging.getLogger(__name__)

ROOT = CONF.parent
PAPER: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("paper.yaml").read_text())


@dataclass(frozen=True)
class Sweep:
    """A finished sweep of an experiment on a model.

    Attributes:
        experiment: its name in conf/experiment.
        model: name of the model.
        folder: Hydra's folder of the sweep; its tables and pictures lie there too.
    """

    experiment: str
    model: str
    folder: Path

    @cached_property
    def jobs(self) -> list[tuple[frozenset[str], Comparison]]:
        """Every job: its overrides, and what it compares."""
        folders = sorted((job for job in self.folder.iterdir() if job.name.isdigit()), key=lambda job: int(job.name))
        return [(_words(job), Comparison.from_json((job / COMPARISON).read_text())) for job in folders]

    @cached_property
    def reference(self) -> RunFolder:
        return self.jobs[0][1].reference

    @cached_property
    def _all_rows(self) -> list[Row]:
        return make_rows([comparison for _, comparison in self.jobs], None)

    def _matching(self, words: str) -> list[int]:
        """Which jobs' overrides hold all of these words; of those, the ones with the fewest others.

        Raises:
            ValueError: there is none.
        """
        wanted = set(words.lower().split())
        found = {index: len(overrides) for index, (overrides, _) in enumerate(self.jobs) if wanted <= overrides}
        if not found:
            raise ValueError(f"experiment {self.experiment} has no row with {words}")
        return [index for index, count in found.items() if count == min(found.values())]

    def find(self, words: str) -> list[Comparison]:
        """The jobs whose overrides hold all of these words; of those, the ones with the fewest others.

        Raises:
            ValueError: there is none.
        """
        return [self.jobs[index][1] for index in self._matching(words)]

    def rows(self, words: str) -> list[Row]:
        """The rows of these jobs, with the score of every sample."""
        return [self._all_rows[index] for index in self._matching(words)]

    @property
    def table(self) -> Table:
        return Table.from_json((self.folder / "table.json").read_text())


def run_experiment(name: str, model: str, output: str, folder: Path, extra: Sequence[str]) -> Sweep:
    """Run what is missing of an experiment and read it.

    Raises:
        ValueError: a job of it failed; what the others made is kept.
    """
    sweep = folder / "sweeps" / f"{name}-{model}"
    own_model = next(iter(PAPER["experiments"][name].values()))
    overrides = [f"experiment={name}", *([] if model == own_model else [f"model={model}"])]
    overrides += [f"output={output}", f"hydra.sweep.dir={sweep}", *extra]
    log.info("python run.py %s", " ".join(overrides))
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run([sys.executable, ROOT / "run.py", *overrides], env=os.environ | {"PYTHONPATH": path})
    if done.returncode:
        raise ValueError(f"experiment={name} model={model} failed, see above; what it made is kept, run this again")
    return Sweep(name, model, sweep)


def models_of(experiment: str, wanted: str) -> list[str]:
    """The models of an experiment that are asked for: tiny, real, or one by its name."""
    known: Mapping[str, str] = PAPER["experiments"][experiment]
    return [model for size, model in known.items() if wanted in (size, model)]


def _words(job: Path) -> frozenset[str]:
    """The overrides of a job; Hydra writes true as True."""
    return frozenset(word.lower() for word in yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text()))

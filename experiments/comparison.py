"""What a finished job leaves for tables: its run, the reference it is measured against, and how to call it."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from experiments.compose import compose_config
from experiments.job import Job
from meancache.run_folder import RunFolder


@dataclass(frozen=True)
class Comparison:
    """A run and its reference.

    Attributes:
        run: run folder, evaluated against ``reference``.
        reference: run folder of the full run; the same one where the job is the full run itself.
        label: what tables call the run.
        paper: a paper's values for just this run, by column.
    """

    run: RunFolder
    reference: RunFolder
    label: str
    paper: Mapping[str, float] = field(default_factory=dict)

    @property
    def of_reference(self) -> "Comparison":
        """The row of the reference itself."""
        return Comparison(self.reference, self.reference, "")

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"run": str(self.run.path), "reference": str(self.reference.path)})

    @classmethod
    def from_json(cls, text: str) -> "Comparison":
        content = json.loads(text)
        folders = {key: RunFolder(Path(content[key])) for key in ("run", "reference")}
        return cls(**content | folders)


def compare(job: Job) -> Comparison:
    """The comparison that a job makes."""
    return Comparison(job.folder, job.reference.folder, job.config.label, paper_values(job))


def paper_values(job: Job) -> dict[str, float]:
    """The values of the paper's row that describes this job: its model and call, its method with every setting.

    Raises:
        ValueError: the file of values has a row without ``run``.
    """
    if job.config.paper is None:
        return {}
    content = yaml.safe_load(Path(job.config.paper).read_text())
    for row in content["rows"]:
        if "run" not in row:
            raise ValueError(f"{job.config.paper}: a row must say with run: which overrides it describes, got {row}")
        overrides = [f"model={content['model']}", *shlex.split(row["run"])]
        if not {f"method={job.config.method['name']}", f"model={job.model.name}"} <= set(overrides):
            continue  # composing takes a while
        if _described(Job(compose_config(overrides))) == _described(job):
            return {name: float(value) for name, value in row.items() if name != "run"}
    return {}


def _described(job: Job) -> dict[str, Any]:
    return {"method": job.config.method, "steps": job.model.num_steps, "call": job.model.call}

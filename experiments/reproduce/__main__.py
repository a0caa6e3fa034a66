"""The paper's tables, figures and claims.

python -m experiments.reproduce all jobs=2                   everything, on the embedded models; two experiments at once
python -m experiments.reproduce table=1,3 figure=6           some of it
python -m experiments.reproduce all model=flux runtime=gpu prompts.download=true model.path=weights/FLUX.1-dev
python -m experiments.reproduce all model=real ...           FLUX.1-dev, Qwen-Image and HunyuanVideo

Runs what is missing (`python run.py experiment=...`, in ``output=outputs``), and writes to ``folder=reproduction`` the
tables as .md, .tex, .html, .csv and .json, the figures, and reproduction.md: which of the paper's claims hold on which
model. Whatever else is on the command line goes to every run. What was made before is not made again.
"""

import logging
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

from experiments.compose import CONF, compose_config
from experiments.errors import run_program
from experiments.reproduce.claims import claims_table, comparison_with_paper, contradictions, speedups
from experiments.reproduce.figures import draw_figure
from experiments.reproduce.sweeps import PAPER, Sweep, models_of, run_experiment
from experiments.tabulate import make_table
from meancache.artifacts import make_folder, write_atomic
from meancache.weights import check_weights

METRICS = {"tiny": "scene", "real": "paper"}  # conf/metrics by size of the model
GPU_RESULTS = CONF.parent / "experiments" / "results" / "gpu"


@dataclass(frozen=True)
class Request:
    """What is asked for: tables, figures, models, folders, overrides of every run; and the words that asked for it."""

    tables: tuple[int, ...]
    figures: tuple[int, ...]
    model: str
    output: str
    folder: Path
    jobs: int
    extra: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the page: a part does not take the place of the whole."""
        parts = [f"table{number}" for number in self.tables] + [f"figure{number}" for number in self.figures]
        return "reproduction" if "all" in self.words else "-".join(["reproduction", *parts])


def parse(arguments: Sequence[str]) -> Request:
    """The request of a command line.

    Raises:
        ValueError: nothing is asked for, or a table, figure or model that there is not.
    """
    given = {"table": "", "figure": "", "model": "tiny", "output": "outputs", "folder": "reproduction", "jobs": "1"}
    extra, everything = [], False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument == "all":
            everything = True
        elif name in given and equals:
            given[name] = value
        elif equals:
            extra.append(argument)
        else:
            raise ValueError(f"what is {argument!r}? Say all, table=1,3 or figure=2, and overrides like runtime=gpu")
    tables, figures = (_numbers(kind, given[kind], everything) for kind in ("table", "figure"))
    if not (tables or figures):
        raise ValueError("say what to reproduce: all, table=1 ... 5, figure=1,2,4 ... 13")
    known = {name for models in PAPER["experiments"].values() for pair in models.items() for name in pair}
    if given["model"] not in known:
        raise ValueError(f"model must be one of {', '.join(sorted(known))}, got {given['model']!r}")
    if not given["jobs"].isdecimal() or int(given["jobs"]) < 1:
        raise ValueError(f"jobs must be a whole number >= 1, got {given['jobs']!r}")
    output, folder = (Path(given[name]).resolve() for name in ("output", "folder"))
    jobs = int(given["jobs"])
    return Request(tables, figures, given["model"], str(output), folder, jobs, tuple(extra), tuple(arguments))


def _numbers(kind: str, text: str, everything: bool) -> tuple[int, ...]:
    known: dict[int, Any] = PAPER[f"{kind}s"]
    if everything and not text:
        return tuple(known)
    parts = [part for part in text.split(",") if part]
    wrong = [part for part in parts if not part.isdecimal() or int(part) not in known]
    if wrong:
        raise ValueError(f"the paper has {kind}s {', '.join(map(str, known))} to reproduce, and no {', '.join(wrong)}")
    return tuple(int(part) for part in parts)


def reproduce(request: Request) -> Path:
    """Make everything that is asked for. Returns the report's path."""
    needed = [name for number in request.tables for name in PAPER["tables"][number]]
    needed += [PAPER["figures"][number]["experiment"] for number in request.figures]
    folder = make_folder(request.folder)
    pairs = [(name, model) for name in dict.fromkeys(needed) for model in models_of(name, request.model)]
    if not pairs:
        raise ValueError(f"nothing of what is asked for is about model={request.model}")
    for model in dict.fromkeys(model for _, model in pairs):
        check_weights(compose_config([f"model={model}", *_of_model(request.extra)]).model)
    with ThreadPoolExecutor(request.jobs) as pool:
        sweeps = list(pool.map(lambda pair: _run(request, *pair), pairs))
    for number in request.tables:
        _write_table(number, sweeps, folder)
    for number in request.figures:
        entry = PAPER["figures"][number]
        for sweep in (sweep for sweep in sweeps if sweep.experiment == entry["experiment"]):
            draw_figure(entry, sweep, request.extra, request.folder / f"figure{number}-{sweep.model}.png")
    path = request.folder / f"{request.name}.md"
    write_atomic(path, _report(request, sweeps))
    return path


def _run(request: Request, name: str, model: str) -> Sweep:
    """Run an experiment with its own settings, where the command has no others."""
    size = next(size for size, known in PAPER["experiments"][name].items() if known == model)
    settings = {"metrics": METRICS[size]} | PAPER["settings"].get(name, {})
    given = {word.partition("=")[0] for word in request.extra}
    extra = [*(f"{key}={value}" for key, value in settings.items() if key not in given), *request.extra]
    return run_experiment(name, model, request.output, request.folder, extra)


def _of_model(extra: Sequence[str]) -> list[str]:
    """Those overrides that say where a model's weights are."""
    return [word for word in extra if word.startswith("model.")]


def _write_table(number: int, sweeps: Sequence[Sweep], folder: Path) -> None:
    """table<number>-<model>.* for each model that the table is about."""
    for sweep in (sweep for sweep in sweeps if sweep.experiment in PAPER["tables"][number]):
        name = f"table{number}-{sweep.model}"
        source = sweep.folder
        if number == 4:
            rows = [sweep.find(words)[0] for words in PAPER["settings_of_table4"][sweep.experiment]]
            source = folder / "sweeps" / name
            make_table(rows, sweep.table.metrics, source)
        for file in source.glob("table.*"):
            copyfile(file, folder / f"{name}{file.suffix}")


def _report(request: Request, sweeps: Sequence[Sweep]) -> str:
    models = ", ".join(dict.fromkeys(sweep.model for sweep in sweeps))
    words = [word for word in request.words if not word.startswith(("output=", "folder=", "jobs="))]  # of one machine
    command = f"python -m experiments.reproduce {shlex.join(words)}"
    parts = [f"# The paper on {models}\n\nWritten by `{command}`."]
    parts += ["## Claims\n\nA claim holds if the better row's advantage is beyond the noise in every metric measured."]
    parts += [claims_table(sweeps)]
    parts += ["## Where the paper contradicts itself", contradictions()]
    if gpu := speedups(GPU_RESULTS):
        parts += ["## Speed-ups at full size, random weights (`python -m experiments.bench`)", gpu]
    for number in request.tables:
        for sweep in (sweep for sweep in sweeps if sweep.experiment in PAPER["tables"][number]):
            parts += [f"## Table {number}", (request.folder / f"table{number}-{sweep.model}.md").read_text()]
            if beside := comparison_with_paper(sweep.table.rows):
                parts += [beside]
    for number in request.figures:
        entry = PAPER["figures"][number]
        for sweep in (sweep for sweep in sweeps if sweep.experiment == entry["experiment"]):
            title = f"Figure {number}, {sweep.model}: {entry['about']}"
            parts += [f"## {title}", f"![{title}](figure{number}-{sweep.model}.png)"]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    print(reproduce(parse(arguments)))


if __name__ == "__main__":
    run_program(main)

"""The command line of the bench: its own options, and rows as text or from rows.yaml."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.compose import compose_config
from hydra_plugins.row_sweeper import expand
from meancache.config import RunConfig

ROWS = Path(__file__).with_name("rows.yaml")
REFERENCE = "method=full"
DEFAULT_STEPS = 26  # of the short runs of a model that rows.yaml does not know


@dataclass(frozen=True)
class Row:
    """One method: the words of its row, the configuration they give, and how many steps it is forced to compute."""

    words: str
    config: RunConfig
    force: int | None = None


@dataclass(frozen=True)
class Options:
    """What the bench does.

    Attributes:
        overrides: of every row: model, runtime.
        weights: "given": the model's; "random": its architecture at full size, without a download.
        seconds: after so many no measurement begins.
        publish: folder for the JSON lines, or None.
        compile: measure once more with compiled blocks.
        pairs: whole runs of each row, each after one of the reference.
        repeats: short runs of each row whose single steps are timed.
        rows: rows in place of those of rows.yaml, with semicolons between them, or None.
    """

    overrides: tuple[str, ...]
    weights: str = "given"
    seconds: float = math.inf
    publish: str | None = None
    compile: bool = False
    pairs: int = 2
    repeats: int = 1
    rows: str | None = None


def parse(arguments: Sequence[str]) -> Options:
    """The bench's options; whatever else there is goes to the configuration.

    Raises:
        ValueError: an option with a value that it cannot have.
    """
    found: dict[str, Any] = {}
    overrides = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in _READ:
            found[name] = _READ[name](name, value)
        else:
            overrides.append(argument)
    return Options(tuple(overrides), **found)


def rows_of(options: Options, model: str) -> tuple[dict[str, list[Row]], int]:
    """Rows by what is done with them (runs, steps, compiled), and how many solver steps a short run has.

    Raises:
        ValueError: no rows are written down for this model and none are given, or a row does not compose.
    """
    known = yaml.safe_load(ROWS.read_text())
    if options.rows is not None:
        texts: dict[str, list[str]] = {"runs": options.rows.split(";"), "steps": []}
        texts["compiled"] = texts["runs"]
    elif model in known:
        texts = known[model]
    else:
        raise ValueError(f"experiments/bench/rows.yaml has no rows for {model}; give them, e.g. rows='method=toca'")
    rows = {part: _rows(texts[part], options.overrides) for part in ("runs", "steps", "compiled")}
    return rows, known.get(model, {}).get("timed_steps", DEFAULT_STEPS)


def _rows(texts: Sequence[str], overrides: Sequence[str]) -> list[Row]:
    found = []
    for text in texts:
        words = shlex.split(text)
        force = [word.removeprefix("force=") for word in words if word.startswith("force=")]
        number = _whole("force", force[0]) if force else None
        jobs = expand([shlex.join(word for word in words if not word.startswith("force="))])
        for job in jobs:
            told = text if len(jobs) == 1 else " ".join([*job, *(f"force={n}" for n in force)])
            found.append(Row(told, compose_config([*overrides, *job]), number))
    return [row for row in found if row.words != REFERENCE]  # it stands beside all others anyway


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {text!r}")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise ValueError(f"{name} must be a number above 0, got {text!r}")
    return seconds


def _one_of(*choices: Any) -> Any:
    def read(name: str, text: str) -> Any:
        if text not in map(str, choices):
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {text!r}")
        return choices[[*map(str, choices)].index(text)]

    return read


def _text(name: str, text: str) -> str:
    if not text:
        raise ValueError(f"{name}= needs a value")
    return text


_READ = {
    "weights": _one_of("given", "random"),
    "seconds": _seconds,
    "publish": _text,
    "compile": lambda name, text: _one_of("true", "false")(name, text) == "true",
    "pairs": _whole,
    "repeats": _whole,
    "rows": _text,
}

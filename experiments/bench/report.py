"""What the bench found: a JSON line for each measurement the moment it is known, and a table at the end.

python -m experiments.bench.report experiments/results/gpu          writes table.md from all *.jsonl of a folder
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval.cells import markdown_table
from experiments.errors import run_program
from meancache.artifacts import environment, make_folder, write_atomic
from meancache.config import RunConfig

WIDTH = 150
HEADINGS = ("method", "computed ms", "skipped ms", "n", "share", "NFE", "speed-up", "limit", "of limit", "MiB")
CAPTION = (
    "computed, skipped: median of n solver steps [quartiles]; share: of a computed step of the same runs; speed-up: "
    "median [least, most] of whole denoising runs, each over the reference run just before it; limit: num_steps / NFE; "
    "MiB: peak, on a CPU of the whole process so far"
)


class Report:
    """Notes in the order they were taken, each with the machine and the versions it was taken on."""

    def __init__(self, config: RunConfig, folder: str | None) -> None:
        self.machine = environment(config.runtime.device) | {"cuda": torch.version.cuda}
        self.model = config.model.name
        self.file = make_folder(Path(folder)) / f"{self.model}.jsonl" if folder else None
        self.notes: list[dict[str, Any]] = []

    def note(self, kind: str, **content: Any) -> None:
        """Take a note: kept for the table, appended to the file and told."""
        self.notes.append({"kind": kind, "model": self.model} | content)
        if self.file is not None:
            with self.file.open("a") as file:
                file.write(json.dumps(self.notes[-1] | {"machine": self.machine}) + "\n")
        print(kind, *(f"{key}={_short(value)}" for key, value in content.items()), file=sys.stderr, flush=True)

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        return [note for note in self.notes if note["kind"] in kinds]

    def show(self) -> None:
        """Print the table, and below it what was left out."""
        console = Console(width=WIDTH)
        console.print(self._table())
        for line in _other_times(self.notes):
            console.print(line, markup=False)
        for note in self.of_kind("skipped", "failed"):
            reason = note.get("error") or f"would have taken about {note['needs_s']:.0f} s"
            compiled = ", compiled" if note["compiled"] else ""
            console.print(f"{note['kind']}: {note['row']} ({note['what']}{compiled}): {reason}", markup=False)

    def _table(self) -> Table:
        table = Table(title=f"{self.model} on {self.machine['device']}, torch {self.machine['torch']}")
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading == "method" else "right")
        for cells in table_rows(self.notes):
            table.add_row(*cells)
        table.caption = Text(CAPTION)
        return table


def table_rows(notes: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row of cells for each method; of one that was measured twice, the later steps and all pairs."""
    steps = {(note["row"], note["compiled"]): note for note in notes if note["kind"] == "steps"}
    rows = []
    for key, note in steps.items():
        pairs = [other for other in notes if other["kind"] == "pair" and (other["row"], other["compiled"]) == key]
        rows.append([_label(note), *_step_cells(note), *_pair_cells(pairs), f"{note['peak_mib']:.0f}"])
    return rows


def _other_times(notes: Sequence[dict[str, Any]]) -> list[str]:
    some = [note for note in notes if note["kind"] == "steps" and "vae_s" in note]
    return [f"{_label(note)}: text {note['text_s']:.3g} s, VAE {note['vae_s']:.3g} s" for note in some]


def write_table(folder: Path) -> None:
    """Write <folder>/table.md from the notes of all models in it.

    Raises:
        ValueError: the folder holds no notes.
    """
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise ValueError(f"{folder} holds no *.jsonl of the bench")
    texts = []
    for file in files:
        notes = [json.loads(line) for line in file.read_text().splitlines()]
        machine = notes[0]["machine"]
        texts += [f"### {notes[0]['model']} on {machine['device']}, torch {machine['torch']}, random weights\n"]
        texts += [markdown_table([HEADINGS, *table_rows(notes)]), "", *_other_times(notes)[:1], ""]
    write_atomic(folder / "table.md", "\n".join([*texts, CAPTION]) + "\n")


def _label(note: dict[str, Any]) -> str:
    return note["row"].removeprefix("method=") + (", compiled" if note["compiled"] else "")


def _step_cells(note: dict[str, Any]) -> list[str]:
    def told(name: str) -> str:
        middle, (low, high) = note[f"{name}_ms"], note[f"{name}_quartiles"]
        return "-" if middle is None else f"{middle:.4g} [{low:.4g}, {high:.4g}]"

    both = note["computed_ms"] and note["skipped_ms"]
    share = f"{note['skipped_ms'] / note['computed_ms']:.1%}" if both else "-"
    return [told("computed"), told("skipped"), f"{note['computed_n']}, {note['skipped_n']}", share]


def _pair_cells(pairs: Sequence[dict[str, Any]]) -> list[str]:
    if not pairs:
        return ["-"] * 4
    ratios = [pair["speedup"] for pair in pairs]
    middle, limit = median(ratios), median(pair["limit"] for pair in pairs)
    speedup = f"{middle:.2f}x [{min(ratios):.2f}, {max(ratios):.2f}] n={len(ratios)}"
    return [f"{pairs[0]['nfe']:.4g}", speedup, f"{limit:.2f}x", f"{middle / limit:.1%}"]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(folders: Sequence[str]) -> None:
    """Write the table of each folder."""
    for folder in folders:
        write_table(Path(folder))


if __name__ == "__main__":
    run_program(main)

"""What the bench found: a JSON line for each measurement the moment it is known, and a table at the end."""

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

from meancache.artifacts import environment, make_folder
from meancache.config import RunConfig

WIDTH = 150


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
        for note in self.of_kind("steps"):
            if "vae_s" in note:
                console.print(f"{_label(note)}: text {note['text_s']:.3g} s, VAE {note['vae_s']:.3g} s", markup=False)
        for note in self.of_kind("skipped", "failed"):
            reason = note.get("error") or f"would have taken about {note['needs_s']:.0f} s"
            compiled = ", compiled" if note["compiled"] else ""
            console.print(f"{note['kind']}: {note['row']} ({note['what']}{compiled}): {reason}", markup=False)

    def _table(self) -> Table:
        table = Table(title=f"{self.model} on {self.machine['device']}, torch {self.machine['torch']}")
        headings = ("method", "computed ms", "skipped ms", "n", "share", "NFE", "speed-up", "limit", "of limit", "MiB")
        for heading in headings:
            table.add_column(heading, justify="left" if heading == "method" else "right")
        pairs = self.of_kind("pair")
        for steps in self.of_kind("steps"):
            own = [p for p in pairs if (p["row"], p["compiled"]) == (steps["row"], steps["compiled"])]
            table.add_row(_label(steps), *_step_cells(steps), *_pair_cells(own), f"{steps['peak_mib']:.0f}")
        table.caption = Text(
            "computed, skipped: median of n solver steps [quartiles]; share: of a computed step of the same runs; "
            "speed-up: median [least, most] of whole denoising runs, each over the reference run just before it; "
            "limit: num_steps / NFE; MiB: peak, on a CPU of the whole process so far"
        )
        return table


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

"""A results table and its renderings: terminal, Markdown, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich import table as rich_table
from rich.markup import escape

from eval.metrics import METRICS
from eval.row import Row
from meancache.artifacts import write_atomic

_COST_COLUMNS = {  # heading: field of Row, format
    "FLOPs (T) ↓": ("flops", ".4g"),
    "Denoiser (T) ↓": ("denoiser_flops", ".4g"),
    "NFE ↓": ("nfe", ".4g"),
    "Denoise (s) ↓": ("denoise_seconds", ".3f"),
    "Total (s) ↓": ("total_seconds", ".3f"),
    "Speedup ↑": ("speedup", ".2f"),
    "Interval": ("interval", ""),
    "Limit": ("limit", ".2f"),
    "Memory (MiB) ↓": ("peak_memory_mib", ".0f"),
}
_ONLY_IN_PAPERS = {"image_reward": "ImageReward ↑", "clip_score": "CLIP Score ↑", "vbench": "VBench (%) ↑"}
_ONLY_IN_FILES = ("Denoiser (T) ↓", "Total (s) ↓", "Interval", "Memory (MiB) ↓")


@dataclass(frozen=True)
class Table:
    """Rows of comparable runs, in the order they are shown.

    A metric that cannot be computed shows as "n/a", and a note under the table says why. The reference shows "-" where
    it would be compared with itself. Seconds are medians per sample. A paper's value stands in brackets beside ours.
    A speed-up beyond its limit, steps of the reference / NFE, is marked with an exclamation mark.

    Raises:
        ValueError: no rows, a row that lacks a metric others have, or a metric that was computed in two ways.
    """

    rows: Sequence[Row]
    title: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        if not self.rows:
            raise ValueError("a table needs at least one row")
        for row in self.rows:
            missing = [name for name in self.metrics if name not in row.metrics]
            if missing and not row.reference:
                raise ValueError(
                    f"row {row.label!r} lacks {', '.join(missing)}, which other rows have; evaluate all of them with "
                    "the same metrics (stage=evaluate)"
                )

        for name in self.metrics:
            ways = sorted({row.provenance[name] for row in self.rows if name in row.provenance})
            if len(ways) > 1:
                raise ValueError(f"{name} was computed by {' and by '.join(ways)}; run stage=evaluate for all rows")

    @property
    def metrics(self) -> list[str]:
        """Names of the metric columns, in the order of the registry."""
        return [name for name in METRICS if any(name in row.metrics for row in self.rows)]

    @property
    def only_in_papers(self) -> list[str]:
        """Names of scores that a paper has for some row and that are not computed here."""
        return [name for name in _ONLY_IN_PAPERS if any(name in row.paper for row in self.rows)]

    @property
    def notes(self) -> list[str]:
        """How much was measured, then the notes of the rows, each with whom it is about unless it is about all."""
        compared = [row.label for row in self.rows if not row.reference]
        about: dict[str, list[str]] = {}
        for row in self.rows:
            for note in row.notes:
                about.setdefault(note, []).append(row.label)
        notes = [note if labels == compared else f"{', '.join(labels)}: {note}" for note, labels in about.items()]
        counts = sorted({row.num_samples for row in self.rows})
        return [f"n = {' to '.join(map(str, counts))} samples a run; seconds are medians per sample", *notes]

    def to_rich(self) -> rich_table.Table:
        """For a terminal, which is narrow: without total time and memory, which the files have."""
        caption = escape("\n".join(filter(None, [self.caption, *self.notes])))
        rendered = rich_table.Table(
            title=escape(self.title), caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, padding=0
        )
        header = self._header()
        shown = [column for column, heading in enumerate(header) if heading not in _ONLY_IN_FILES]
        rendered.add_column(header[0], min_width=14)
        for column in shown[1:]:
            rendered.add_column(header[column].replace(" (", "\n("), justify="right", no_wrap=True)
        for row in self.rows:
            cells = self._cells(row, bold="[bold]{}[/bold]")
            rendered.add_row(escape(cells[0]), *(cells[column] for column in shown[1:]))
        return rendered

    def to_markdown(self) -> str:
        header = self._header()
        lines = [f"### {self.title}\n"] if self.title else []
        lines += [markdown_table([header, *(self._cells(row, bold="**{}**") for row in self.rows)])]
        provenance = {name: text for row in self.rows for name, text in row.provenance.items()}
        scored = [f"{METRICS[name].label}: {provenance[name]}" for name in self.metrics if name in provenance]
        lines += [f"\n{text}" for text in [self.caption, *self.notes, *scored] if text]
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """Unrounded values, one column each; "n/a" and "-" as in the table."""
        rows = [_plain(row) for row in self.rows]
        columns = [key for key in rows[0] if key not in ("metrics", "provenance", "paper", "notes")]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*columns, *self.metrics, "notes"])
        for row in rows:
            scores = [_text(row["metrics"].get(name, "-")) for name in self.metrics]
            writer.writerow([_text(row[key]) for key in columns] + scores + ["; ".join(row["notes"])])
        return text.getvalue()

    def to_json(self) -> str:
        content = {"title": self.title, "caption": self.caption, "rows": [_plain(row) for row in self.rows]}
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Table":
        content = json.loads(text)
        return cls([_row(row) for row in content["rows"]], content["title"], content["caption"])

    def save(self, folder: Path) -> None:
        """Write table.md, table.csv and table.json, each at once or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, text in (("md", self.to_markdown()), ("csv", self.to_csv()), ("json", self.to_json())):
            write_atomic(folder / f"table.{suffix}", text)

    def _header(self) -> list[str]:
        scores = (METRICS[name].heading for name in self.metrics)
        return ["Method", *_COST_COLUMNS, *scores, *(_ONLY_IN_PAPERS[name] for name in self.only_in_papers)]

    def _cells(self, row: Row, *, bold: str) -> list[str]:
        cost = [_beside(row, name, _cost(row, name, form)) for name, form in _COST_COLUMNS.values()]
        scores = [_beside(row, name, self._score(row, name, bold)) for name in self.metrics]
        return [row.label, *cost, *scores, *(_beside(row, name, "n/a") for name in self.only_in_papers)]

    def _score(self, row: Row, name: str, bold: str) -> str:
        """A cell; the best of a column of several scores is bold."""
        if name not in row.metrics:
            return "-"
        value = row.metrics[name]
        if value is None:
            return "n/a"
        scores = [score for other in self.rows if (score := other.metrics.get(name)) is not None]
        best = max(scores) if METRICS[name].higher_is_better else min(scores)
        cell = f"{value:.{METRICS[name].digits}f}"
        return bold.format(cell) if len(scores) > 1 and value == best else cell


def _cost(row: Row, name: str, form: str) -> str:
    value = getattr(row, name)
    if value is None:
        return "-" if name in ("limit", "interval") and row.reference else "n/a"
    unit = "x" if name in ("speedup", "limit") else ""
    return f"{value:{form}}{unit}" + " !" * (name == "speedup" and row.beyond_limit)


def _beside(row: Row, name: str, ours: str) -> str:
    return f"{ours} ({row.paper[name]:g})" if name in row.paper else ours


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, headings first; the first column to the left, all others to the right."""
    marks = ["---", *["---:"] * (len(rows[0]) - 1)]
    cells = [rows[0], marks, *([cell.replace("|", r"\|") for cell in row] for row in rows[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _text(value: object) -> str:
    return "n/a" if value is None else str(value)


def _plain(row: Row) -> dict[str, Any]:
    """A row as JSON can hold it: an infinite score is the string "inf"."""
    scores = {name: "inf" if value == math.inf else value for name, value in row.metrics.items()}
    return asdict(row) | {"metrics": scores, "notes": list(row.notes)}


def _row(content: Mapping[str, Any]) -> Row:
    scores = {name: None if value is None else float(value) for name, value in content["metrics"].items()}
    names = {"scorers": "provenance"}  # its name in older tables
    fields = {names.get(key, key): value for key, value in content.items()}
    return Row(**fields | {"metrics": scores, "notes": tuple(content["notes"])})

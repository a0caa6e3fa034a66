"""A results table and its renderings: terminal, Markdown, LaTeX, HTML, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape as escape_html
from pathlib import Path
from typing import Any

from rich import box
from rich import table as rich_table
from rich.markup import escape

from eval.cells import (
    as_text,
    beside_paper,
    cost_cell,
    csv_value,
    difference_cell,
    html,
    interval_cells,
    latex,
    markdown_table,
    score_cell,
)
from eval.metrics import METRICS
from eval.row import Row, notes_of
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
REWARDS = ("image_reward", "scene_reward")
DEGRADED = 0.3  # the paper marks rows with "significant degradation in Image Reward" and gives no number
_ONLY_IN_FILES = ("Denoiser (T) ↓", "Total (s) ↓", "Interval", "Memory (MiB) ↓")


@dataclass(frozen=True)
class Table:
    """Rows of comparable runs, in the order they are shown.

    A metric that cannot be computed has no column, or "n/a" beside a paper's values, and a note under the table says
    why. The reference shows "-" where it would be compared with itself. Seconds are medians per sample. A paper's value
    stands in brackets beside ours. Bold is a score that is better than every other row's by more than the noise. A
    speed-up beyond its limit, steps of the reference / NFE, is marked with an exclamation mark. A dagger marks rows
    whose reward lies more than 0.3 below the reference's, by more than the noise. ``compared_with`` is the label of the
    row that the others' differences are from.

    Raises:
        ValueError: no rows, a row that lacks a metric others have, or a metric that was computed in two ways.
    """

    rows: Sequence[Row]
    title: str = ""
    caption: str = ""
    compared_with: str = ""

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
    def shown(self) -> list[str]:
        """Metric columns with something in them: a score of ours for some row, or a paper's."""
        return [
            name for name in METRICS if any(row.metrics.get(name) is not None or name in row.paper for row in self.rows)
        ]

    @property
    def notes(self) -> list[str]:
        """How much was measured, then the notes of the rows, each with whom it is about unless it is about all."""
        notes = notes_of(self.rows)
        counts = sorted({row.num_samples for row in self.rows})
        count = f"n = {' to '.join(map(str, counts))} samples a run; seconds are medians per sample"
        if any(row.intervals for row in self.rows):
            count += "; bold: better than every other row by more than the noise"
        if any(map(self._is_degraded, self.rows)):
            notes.append(f"†: reward more than {DEGRADED} below the reference's")
        return [count, *notes]

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
            cells = self._cells(row, bold="[bold]{}[/bold]", spread=True)
            rendered.add_row(escape(cells[0]), *(cells[column] for column in shown[1:]))
        return rendered

    def to_markdown(self) -> str:
        header = self._header()
        lines = [f"### {self.title}\n"] if self.title else []
        lines += [markdown_table([header, *(self._cells(row, bold="**{}**") for row in self.rows)])]
        if sure := self._intervals():
            lines += ["\nMean [95 % interval over prompts], and the mean of the worst 5 % of the samples:\n"]
            lines += [markdown_table(sure)]
        if gaps := self._differences():
            lines += [f"\nDifference from {self.compared_with} on the same prompts and seeds [95 % interval]:\n"]
            lines += [markdown_table(gaps)]
        provenance = {name: text for row in self.rows for name, text in row.provenance.items()}
        scored = [f"{METRICS[name].label}: {provenance[name]}" for name in self.metrics if name in provenance]
        lines += [f"\n{text}" for text in [self.caption, *self.notes, *scored] if text]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """A booktabs table, for a paper."""
        cells = [self._header(), *(self._cells(row, bold="\0{}\1") for row in self.rows)]
        head, *body = (" & ".join(map(latex, line)) + r" \\" for line in cells)
        notes = [f"% {note}" for note in [self.title, self.caption, *self.notes] if note]
        begin = rf"\begin{{tabular}}{{l{'r' * (len(cells[0]) - 1)}}}"
        lines = [*notes, begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
        return "\n".join(lines).replace("\0", r"\textbf{").replace("\1", "}") + "\n"

    def to_html(self) -> str:
        """A plain table, to paste."""
        head = "".join(f"<th>{html(heading)}</th>" for heading in self._header())
        lines = ["".join(f"<td>{html(cell)}</td>" for cell in self._cells(row, bold="\0{}\1")) for row in self.rows]
        body = "\n".join(f"<tr>{line}</tr>" for line in lines)
        notes = "".join(f"<p>{escape_html(note)}</p>\n" for note in [self.caption, *self.notes] if note)
        table = f'<table class="results">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'
        return f"<h3>{escape_html(self.title)}</h3>\n{table}\n{notes}"

    def to_csv(self) -> str:
        """Unrounded values, one column each; "n/a" and "-" as in the table."""
        rows = [_plain(row) for row in self.rows]
        columns = [key for key in rows[0] if not isinstance(rows[0][key], (dict, list))]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        parts = [(name, part) for name in self.metrics for part in ("", "_low", "_high", "_worst")]
        writer.writerow([*columns, *(name + part for name, part in parts), "notes"])
        for row in rows:
            scores = [as_text(csv_value(row, name, part)) for name, part in parts]
            writer.writerow([as_text(row[key]) for key in columns] + scores + ["; ".join(row["notes"])])
        return text.getvalue()

    def to_json(self) -> str:
        facts = {"title": self.title, "caption": self.caption, "compared_with": self.compared_with}
        content = facts | {"rows": [_plain(row) for row in self.rows]}
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Table":
        content = json.loads(text)
        rows = [_row(row) for row in content["rows"]]
        return cls(rows, content["title"], content["caption"], content.get("compared_with", ""))

    def save(self, folder: Path) -> None:
        """Write table.md, .tex, .html, .csv and .json, each at once or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"md": self.to_markdown, "tex": self.to_latex, "html": self.to_html}
        for suffix, make in (texts | {"csv": self.to_csv, "json": self.to_json}).items():
            write_atomic(folder / f"table.{suffix}", make())

    def _header(self) -> list[str]:
        scores = (METRICS[name].heading for name in self.shown)
        return ["Method", *_COST_COLUMNS, *scores]

    def _cells(self, row: Row, *, bold: str, spread: bool = False) -> list[str]:
        cost = [beside_paper(row, name, cost_cell(row, name, form)) for name, form in _COST_COLUMNS.values()]
        scores = [beside_paper(row, name, score_cell(row, name, bold, spread=spread)) for name in self.shown]
        return [row.label + " †" * self._is_degraded(row), *cost, *scores]

    def _intervals(self) -> list[list[str]]:
        """A second table: means with their intervals, and the worst samples."""
        names = [name for name in self.shown if any(name in row.intervals for row in self.rows)]
        header = ["Method", "prompts", *(cell for name in names for cell in (METRICS[name].heading, "worst 5 %"))]
        rows = [[row.label, str(row.num_prompts), *interval_cells(row, names)] for row in self.rows if row.intervals]
        return [header, *rows] if rows else []

    def _differences(self) -> list[list[str]]:
        """A third: by how much each row differs from the one that was chosen."""
        names = [name for name in self.shown if any(name in row.differences for row in self.rows)]
        rows = [[row.label, *(difference_cell(row, name) for name in names)] for row in self.rows if row.differences]
        return [["Method", *(METRICS[name].heading for name in names)], *rows] if rows else []

    @staticmethod
    def _is_degraded(row: Row) -> bool:
        return any(high < -DEGRADED for _, _, high in (row.from_reference.get(name, (0, 0, 0)) for name in REWARDS))


def _plain(row: Row) -> dict[str, Any]:
    """A row as JSON can hold it: an infinite score is the string "inf"."""
    scores = {name: "inf" if value == math.inf else value for name, value in row.metrics.items()}
    content = asdict(replace(row, samples={}))
    del content["samples"]
    return content | {"metrics": scores, "notes": list(row.notes), "wins": list(row.wins)}


def _row(content: Mapping[str, Any]) -> Row:
    scores = {name: None if value is None else float(value) for name, value in content["metrics"].items()}
    names = {"scorers": "provenance"}  # its name in older tables
    fields = {names.get(key, key): value for key, value in content.items()}
    tuples = {name: tuple(content.get(name, ())) for name in ("notes", "wins")}
    pairs = ("intervals", "differences", "from_reference")
    spans = {name: {key: tuple(ends) for key, ends in content.get(name, {}).items()} for name in pairs}
    return Row(**fields | {"metrics": scores} | tuples | spans)

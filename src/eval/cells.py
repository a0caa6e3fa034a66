"""Single cells of a results table, as text."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from eval.metrics import METRICS
from eval.row import Row


def score_cell(row: Row, name: str, bold: str, *, spread: bool = False) -> str:
    """A mean score, bold where it wins; with half the width of its interval if ``spread`` is asked for."""
    value = row.metrics.get(name)
    if value is None:
        return "-" if row.reference and METRICS[name].needs_reference else "n/a"
    cell = f"{value:.{METRICS[name].digits}f}"
    cell = bold.format(cell) if name in row.wins else cell
    if spread and name in row.intervals:
        low, high = row.intervals[name]
        cell += f" ±{(high - low) / 2:.{METRICS[name].digits}f}"
    return cell


def interval_cells(row: Row, names: Sequence[str]) -> list[str]:
    """Two cells a metric: its mean with the interval, and the worst samples."""
    cells = []
    for name in names:
        low, high = row.intervals.get(name, (None, None))
        digits = METRICS[name].digits
        known = low is not None and row.metrics[name] is not None
        cells.append(f"{row.metrics[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]" if known else "-")
        cells.append(f"{row.worst[name]:.{digits}f}" if name in row.worst else "-")
    return cells


def difference_cell(row: Row, name: str) -> str:
    """By how much a row differs from the one it is compared with."""
    if name not in row.differences:
        return "-"
    mean, low, high = row.differences[name]
    digits = METRICS[name].digits
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def cost_cell(row: Row, name: str, form: str) -> str:
    """What a row costs."""
    value = getattr(row, name)
    if value is None:
        return "-" if name in ("limit", "interval") and row.reference else "n/a"
    unit = "x" if name in ("speedup", "limit") else ""
    return f"{value:{form}}{unit}" + " !" * (name == "speedup" and row.beyond_limit)


def beside_paper(row: Row, name: str, ours: str) -> str:
    """A cell of ours, and the paper's value in brackets."""
    return f"{ours} ({row.paper[name]:g})" if name in row.paper else ours


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, headings first; the first column to the left, all others to the right."""
    marks = ["---", *["---:"] * (len(rows[0]) - 1)]
    cells = [rows[0], marks, *([cell.replace("|", r"\|") for cell in row] for row in rows[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


_LATEX = {
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "γ": r"$\gamma$",
    "δ": r"$\delta$",
    "ρ": r"$\rho$",
}
_LATEX |= {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "†": r"$\dagger$", "×": r"$\times$"}


def latex(cell: str) -> str:
    """A cell for LaTeX; what stands between the characters 0 and 1 is bold once the table is made."""
    return "".join(_LATEX.get(letter, letter) for letter in cell)


def html(cell: str) -> str:
    """A cell for HTML, likewise."""
    return escape(cell).replace("\0", "<b>").replace("\1", "</b>")


def csv_value(row: Mapping[str, Any], name: str, part: str) -> Any:
    """A value of the CSV: a score, an end of its interval, or its worst 5 %; "-" where the row has none."""
    low, high = row["intervals"].get(name, ("-", "-"))
    return {"": row["metrics"].get(name, "-"), "_low": low, "_high": high, "_worst": row["worst"].get(name, "-")}[part]


def as_text(value: object) -> str:
    """A value of the CSV; what is not known is "n/a"."""
    return "n/a" if value is None else str(value)

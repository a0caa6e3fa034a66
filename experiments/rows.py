"""The rows of finished jobs, for tables and reports."""

from collections.abc import Sequence
from dataclasses import replace

from eval.row import Row, reference_seconds, row_from_run
from eval.speedup import median_seconds
from experiments.comparison import Comparison
from meancache.run_folder import RunFolder


def make_rows(comparisons: Sequence[Comparison], metrics: Sequence[str] | None) -> list[Row]:
    """The row of each run, with these scores or all there are. A reference has its seconds from the pairs of all."""
    runs = [c.run for c in comparisons]
    rows = [row_from_run(c.run, c.reference, label=c.label, metrics=metrics, paper=c.paper) for c in comparisons]
    return [timed_row(row, c, runs) for row, c in zip(rows, comparisons)]


def timed_row(row: Row, comparison: Comparison, runs: Sequence[RunFolder]) -> Row:
    """A reference's row with its seconds in the pairs of all runs of the table."""
    if not row.reference:
        return row
    seconds = reference_seconds(runs, comparison.reference)
    parts = {f"{part}_seconds": median_seconds(seconds, part) for part in ("denoise", "total")}
    return replace(row, **parts)  # type: ignore[arg-type]

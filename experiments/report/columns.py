"""Columns of a report's table, which are the axes of its plot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eval.metrics import METRICS
from eval.row import Row
from eval.statistics import WORST

Interval = tuple[float, float]


@dataclass(frozen=True)
class Column:
    """A number of each row.

    Attributes:
        key: its name in the page.
        label: its heading.
        form: format of a value.
        better: 1 where more is better, -1 where less is.
        value: of a row; None where it is not known.
        interval: 95 %, or None.
        known_as: its name in a paper's values, among the wins and among the differences of a row.
        hidden: whether the table begins without it.
    """

    key: str
    label: str
    form: str
    better: int
    value: Callable[[Row], float | None]
    interval: Callable[[Row], Interval | None] = lambda row: None
    known_as: str = ""
    hidden: bool = False

    @property
    def heading(self) -> str:
        arrow = "↑" if self.better > 0 else "↓"
        return f"{self.label}\N{NO-BREAK SPACE}{arrow}".replace("-", "\N{NON-BREAKING HYPHEN}")

    def text(self, row: Row) -> str:
        """The value, as its cell shows it."""
        value = self.value(row)
        return "–" if value is None else f"{value:{self.form}}"

    def beside(self, row: Row) -> list[str]:
        """What its cell shows besides, a line each: interval, difference from a row chosen, a paper's value."""
        lines, form = [], self.form
        if interval := self.interval(row):
            lines.append(f"[{interval[0]:{form}}, {interval[1]:{form}}]")
        if self.known_as in row.differences:
            mean, low, high = row.differences[self.known_as]
            lines.append(f"Δ {mean:+{form}} [{low:+{form}}, {high:+{form}}]")
        if self.known_as in row.paper:
            lines.append(f"paper: {row.paper[self.known_as]:g}")
        return lines


def _speedup_interval(row: Row) -> Interval | None:
    return None if row.speedup_low is None or row.speedup_high is None else (row.speedup_low, row.speedup_high)


_COSTS = (
    Column("nfe", "NFE", ".4g", -1, lambda row: row.nfe, known_as="nfe"),
    Column("flops", "FLOPs (T)", ".4g", -1, lambda row: row.flops, known_as="flops"),
    Column("speedup", "Speed-up", ".2f", 1, lambda row: row.speedup, _speedup_interval, known_as="speedup"),
    Column("denoise_seconds", "Denoise (s)", ".3f", -1, lambda row: row.denoise_seconds, hidden=True),
    Column("peak_memory_mib", "Memory (MiB)", ".0f", -1, lambda row: row.peak_memory_mib, hidden=True),
)


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """The columns in which some row has a value: costs, then scores, each with that of the worst samples."""
    names = [name for name in METRICS if any(name in row.metrics for row in rows)]
    columns = [*_COSTS, *(column for name in names for column in _scores(name))]
    return [column for column in columns if any(column.value(row) is not None for row in rows)]


def _scores(name: str) -> tuple[Column, Column]:
    metric = METRICS[name]
    form, better = f".{metric.digits}f", 1 if metric.higher_is_better else -1
    mean = Column(
        name,
        metric.label,
        form,
        better,
        lambda row: row.metrics.get(name),
        lambda row: row.intervals.get(name),
        known_as=name,
    )
    return mean, Column(
        f"worst-{name}", f"{metric.label}, worst {WORST:.0%}", form, better, lambda row: row.worst.get(name)
    )


def provenance_of(rows: Sequence[Row]) -> Mapping[str, list[str]]:
    """What computed each score, by its label; more than one where runs differ."""
    names = [name for name in METRICS if any(name in row.provenance for row in rows)]
    return {
        METRICS[name].label: sorted({row.provenance[name] for row in rows if name in row.provenance}) for name in names
    }

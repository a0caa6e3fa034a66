"""Columns of a report's table, which are the axes of its plot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eval.metrics import METRICS
from eval.row import Row

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
        paper: a paper's values of a row, by this name.
    """

    key: str
    label: str
    form: str
    better: int
    value: Callable[[Row], float | None]
    interval: Callable[[Row], Interval | None] = lambda row: None
    paper: str = ""

    @property
    def heading(self) -> str:
        arrow = "↑" if self.better > 0 else "↓"
        return f"{self.label}\N{NO-BREAK SPACE}{arrow}".replace("-", "\N{NON-BREAKING HYPHEN}")

    def text(self, row: Row) -> str:
        """The value, as its cell shows it."""
        value = self.value(row)
        return "–" if value is None else f"{value:{self.form}}"

    def beside(self, row: Row) -> str:
        """What its cell shows besides: [low, high] and a paper's value."""
        interval = self.interval(row)
        bounds = "" if interval is None else f"[{interval[0]:{self.form}}, {interval[1]:{self.form}}]"
        paper = f"paper: {row.paper[self.paper]:g}" if self.paper in row.paper else ""
        return " ".join(filter(None, [bounds, paper]))


def _speedup_interval(row: Row) -> Interval | None:
    return None if row.speedup_low is None or row.speedup_high is None else (row.speedup_low, row.speedup_high)


_COSTS = (
    Column("nfe", "NFE", ".4g", -1, lambda row: row.nfe, paper="nfe"),
    Column("flops", "FLOPs (T)", ".4g", -1, lambda row: row.flops, paper="flops"),
    Column("speedup", "Speed-up", ".2f", 1, lambda row: row.speedup, _speedup_interval, paper="speedup"),
    Column("denoise_seconds", "Denoise (s)", ".3f", -1, lambda row: row.denoise_seconds, paper="denoise_seconds"),
    Column("peak_memory_mib", "Memory (MiB)", ".0f", -1, lambda row: row.peak_memory_mib),
)


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """The columns in which some row has a value: costs, then scores."""
    names = [name for name in METRICS if any(name in row.metrics for row in rows)]
    columns = [*_COSTS, *map(_score, names)]
    return [column for column in columns if any(column.value(row) is not None for row in rows)]


def _score(name: str) -> Column:
    metric = METRICS[name]

    def value(row: Row) -> float | None:
        return row.metrics.get(name)

    return Column(name, metric.label, f".{metric.digits}f", 1 if metric.higher_is_better else -1, value, paper=name)


def provenance_of(rows: Sequence[Row]) -> Mapping[str, list[str]]:
    """What computed each score, by its label; more than one where runs differ."""
    names = [name for name in METRICS if any(name in row.provenance for row in rows)]
    return {
        METRICS[name].label: sorted({row.provenance[name] for row in rows if name in row.provenance}) for name in names
    }


def notes_of(rows: Sequence[Row]) -> list[str]:
    """The notes of all rows, each once, with whom it is about unless it is about all."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            about.setdefault(note, []).append(row.label)
    compared = [row.label for row in rows if not row.reference]
    return [note if labels == compared else f"{', '.join(labels)}: {note}" for note, labels in about.items()]

"""Writes a report: an index.html with all scripts and styles in it, and the pictures beside it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import distribution
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from eval.metrics import METRICS
from eval.row import Row, compared, notes_of
from experiments.comparison import Comparison
from experiments.figures.tradeoff import family
from experiments.report.columns import Column, columns_of, provenance_of
from experiments.report.media import needs_thumbnails, place, size_of
from experiments.report.timeline import timeline_of
from experiments.rows import make_rows
from meancache.artifacts import write_atomic
from meancache.run_folder import RunFolder

TEMPLATES = Path(__file__).parent / "page"
PARTS = {"index.html", "media", "thumbnails"}


def write_report(
    comparisons: Sequence[Comparison], folder: Path, title: str = "", compare_with: str | None = None
) -> Path:
    """Write the report of these runs.

    Args:
        comparisons: runs and their references; a reference is shown too where it is not among the runs.
        folder: where to; new, empty or an older report, whose pictures are kept.
        title: heading of the page; by default the models.
        compare_with: label of a row whose scores are taken off the others'.

    Returns:
        The page to open.

    Raises:
        ValueError: the folder holds something else, or a run is unfinished or lacks pictures.
    """
    _check_folder(folder)
    shown = _with_references(comparisons)
    rows = _rows(shown, compare_with)
    title = title or ", ".join(dict.fromkeys(row.model for row in rows))
    content = _content(rows, shown, folder) | {"title": title, "compare_with": compare_with}
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = folder / "index.html"
    write_atomic(page, environment.get_template("index.html").render(content))
    return page


def _check_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    strangers = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - PARTS
    if strangers:
        raise ValueError(f"{folder} holds {min(strangers)}, which is no part of a report; name a new folder")


def _rows(comparisons: Sequence[Comparison], compare_with: str | None) -> list[Row]:
    """The rows, each with what it wins among those of the same reference, and compared where that has the label."""
    rows = dict(zip((c.run for c in comparisons), make_rows(comparisons, None)))
    label = (compare_with or "").lower()
    having = {c.reference for c in comparisons if label in rows[c.run].label.lower()}
    for reference in {c.reference for c in comparisons}:
        runs = [c.run for c in comparisons if c.reference == reference]
        wanted = compare_with if reference in having or not having else None
        rows |= zip(runs, compared([rows[run] for run in runs], wanted))
    return list(rows.values())


def _with_references(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Each run once, and each reference that is none of them before the first run that is compared with it."""
    runs = {c.run for c in comparisons}
    shown: dict[RunFolder, Comparison] = {}
    for comparison in comparisons:
        if comparison.reference not in runs:
            shown.setdefault(comparison.reference, comparison.of_reference)
        shown.setdefault(comparison.run, comparison)
    return list(shown.values())


def _content(rows: Sequence[Row], comparisons: Sequence[Comparison], folder: Path) -> dict[str, Any]:
    """All that the template shows; pictures are put into the folder."""
    columns = columns_of(rows)
    references = list(dict.fromkeys(c.reference for c in comparisons))
    groups = [_group(reference, rows, comparisons, folder) for reference in references]
    points = [_point(row, c, columns, references) for row, c in zip(rows, comparisons)]
    return {
        "made": datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        "counts": sorted({row.num_samples for row in rows}),
        "rows": rows,
        "columns": columns,
        "groups": groups,
        "several": len(groups) > 1,
        "timelines": [timeline_of(c.run, row.label) for row, c in zip(rows, comparisons)],
        "notes": notes_of(rows),
        "provenance": provenance_of(rows),
        "data": {"columns": [_axis(c) for c in columns], "points": points, "groups": groups, "metrics": _metrics(rows)},
        "libraries": {"datatables": _datatables("js"), "plotly": get_plotlyjs()},
        "datatables_style": _datatables("css"),
    }


def _datatables(suffix: str) -> str:
    """DataTables out of itables, without importing that, which would load pandas."""
    path = distribution("itables").locate_file(f"itables/html/dt_bundle.{suffix}")
    return Path(str(path)).read_text(encoding="utf-8")


def _axis(column: Column) -> dict[str, Any]:
    return {"key": column.key, "label": column.heading, "better": column.better, "hidden": column.hidden}


def _metrics(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Scores by which prompts can be sorted."""
    names = [name for name in METRICS if any(name in row.samples for row in rows)]
    return [
        {
            "name": name,
            "label": METRICS[name].label,
            "better": 1 if METRICS[name].higher_is_better else -1,
            "digits": METRICS[name].digits,
        }
        for name in names
    ]


def _point(
    row: Row, comparison: Comparison, columns: Sequence[Column], references: Sequence[RunFolder]
) -> dict[str, Any]:
    """A row as the plot and the table's links need it. An infinite score is no point of a plot."""
    values = {column.key: column.value(row) for column in columns}
    return {
        "label": row.label,
        "family": family(row),
        "run": comparison.run.name,
        "group": references.index(comparison.reference),
        "reference": row.reference,
        "values": {key: value if value is not None and isfinite(value) else None for key, value in values.items()},
        "intervals": {column.key: bounds for column in columns if (bounds := column.interval(row)) is not None},
    }


def _group(
    reference: RunFolder, rows: Sequence[Row], comparisons: Sequence[Comparison], folder: Path
) -> dict[str, Any]:
    """A reference, its prompts and the runs that are compared with it; their pictures are put into the folder."""
    records, config = reference.records(), reference.config()
    first = records[0]
    thumbnails = needs_thumbnails(reference, first)
    runs = [
        _shown(c.run, row, reference, folder, thumbnails)
        for row, c in zip(rows, comparisons)
        if c.reference == reference
    ]
    return {
        "model": config["model"]["name"],
        "video": first.num_frames is not None,
        "thumbnails": thumbnails,
        "size": size_of(reference, first),
        "samples": [[record.sample, record.prompt, record.seed, record.category] for record in records],
        "reference": next(run for run in runs if run["run"] == reference.name),
        "runs": [run for run in runs if run["run"] != reference.name],
    }


def _shown(run: RunFolder, row: Row, reference: RunFolder, folder: Path, thumbnails: bool) -> dict[str, Any]:
    """A run, which of the reference's samples it has, and their scores in the same order."""
    position = {record.sample: index for index, record in enumerate(reference.records())}
    pairs = run.pairs(reference)
    place(run, [(other.sample, record) for record, other in pairs], folder, thumbnails=thumbnails)
    scores = {
        name: [_plain(known.get(record.sample), METRICS[name].digits) for record, _ in pairs]
        for name, known in row.samples.items()
    }
    return {
        "label": row.label,
        "run": run.name,
        "has": [position[other.sample] for _, other in pairs],
        "scores": scores,
    }


def _plain(score: float | None, digits: int) -> float | str | None:
    """A score as JSON can hold it."""
    if score is None or isfinite(score):
        return None if score is None else round(score, digits + 2)
    return "inf"

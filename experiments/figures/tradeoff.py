"""Quality against cost of all methods of a sweep, with the Pareto front: Figure 8 of MeanCache."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.metrics import METRICS, Metric
from eval.row import Row
from experiments.figures.files import write_plot

Point = tuple[float, float]
MARKERS = "os^Dv<>PX*ph8d"
COSTS: dict[str, Callable[[Row], float | None]] = {
    "denoising time / reference's": lambda row: None if row.speedup is None else 1 / row.speedup,  # timed in turns
    "pipeline (TFLOP)": lambda row: row.flops,
}


def draw_tradeoff(rows: Sequence[Row], out: Path) -> None:
    """Draw each reconstruction metric against latency and against FLOPs, a curve for each method.

    Args:
        rows: results; the reference is left out.
        out: PNG to write.

    Raises:
        ValueError: no row but the reference.
    """
    rows = [row for row in rows if not row.reference]
    if not rows:
        raise ValueError("there is nothing to compare: only the reference")
    known = [METRICS[name] for name in METRICS if all(row.metrics.get(name) is not None for row in rows)]
    metrics = [metric for metric in known if metric.needs_reference] or known
    costs = {name: cost for name, cost in COSTS.items() if all(cost(row) is not None for row in rows)}
    costs = costs or {"NFE": lambda row: row.nfe}
    figure = Figure(figsize=(5.0 * len(metrics), 3.8 * len(costs) + 0.8), layout="constrained")
    grid = figure.subplots(len(costs), len(metrics), squeeze=False)
    for line, (label, cost) in zip(grid, costs.items()):
        for axes, metric in zip(line, metrics):
            _draw(axes, rows, cost, metric)
            axes.set_xlabel(label)
            axes.set_ylabel(metric.heading)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)
    write_plot(out, figure)


def pareto(points: Sequence[Point], *, higher_is_better: bool) -> list[Point]:
    """The points that no other one beats in both cost (first) and score (second), by rising cost."""
    sign, front, best = (1 if higher_is_better else -1), [], float("-inf")
    for cost, score in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if sign * score > best:
            best = sign * score
            front.append((cost, score))
    return front


def _draw(axes: Axes, rows: Sequence[Row], cost: Callable[[Row], float | None], metric: Metric) -> None:
    names = list(dict.fromkeys(family(row) for row in rows))
    points = {name: sorted(_point(row, cost, metric) for row in rows if family(row) == name) for name in names}
    for number, (name, curve) in enumerate(points.items()):
        colour = colormaps["tab20"](number % 20)
        axes.plot(*zip(*curve), marker=MARKERS[number % len(MARKERS)], color=colour, label=name, linewidth=1.2)
    front = pareto([p for curve in points.values() for p in curve], higher_is_better=metric.higher_is_better)
    axes.plot(*zip(*front), color="black", linestyle="--", linewidth=0.9, label="Pareto front", zorder=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _point(row: Row, cost: Callable[[Row], float | None], metric: Metric) -> Point:
    x, y = cost(row), row.metrics[metric.name]
    assert x is not None and y is not None
    return x, y


def family(row: Row) -> str:
    """The label without numbers, so that a method's rows make one curve: "MeanCache B=10 (release)" and so on."""
    return re.sub(r"\s*\S+=\S+|:\s*\d+", "", row.label)

"""Which steps a plan computes and how far its JVPs look back: Figure 6 of MeanCache.

python -m experiments.figures.plans map=<stability map> budgets=10,15,20,30,40 gamma=4 out=plans.png
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.figures.files import write_plot
from meancache.plan import Plan
from meancache.planner import PlanRequest, plan_path
from meancache.stability import StabilityMap

SKIPPED = "#e4e4e4"


def draw_plans(plans: Sequence[Plan], out: Path) -> None:
    """Draw plans one below the other: computed steps darker for a larger span K, skipped steps gray.

    Args:
        plans: at least one, in the order of the rows from the top.
        out: PNG to write.
    """
    num_steps = max(plan.num_steps for plan in plans)
    spans = sorted({max(span, 1) for plan in plans for span in plan.spans})
    cells = np.full((len(plans), num_steps), np.nan)  # no colour beyond the end of a shorter grid
    for row, plan in enumerate(plans):
        cells[row, : plan.num_steps] = 0
        cells[row, list(plan.nodes)] = [1 + spans.index(max(span, 1)) for span in plan.spans]
    colours = [SKIPPED, *colormaps["Blues"](np.linspace(0.35, 1.0, len(spans)))]
    figure = Figure(figsize=(max(6.0, 0.19 * num_steps + 2.0), 0.36 * len(plans) + 1.5), layout="constrained")
    axes = figure.add_subplot()
    norm = BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours))
    axes.pcolormesh(cells, cmap=ListedColormap(colours), norm=norm, edgecolors="white", linewidth=1.2)
    axes.invert_yaxis()
    axes.set_xticks(np.arange(0, num_steps, 5) + 0.5, [str(step) for step in range(0, num_steps, 5)])
    axes.set_yticks(np.arange(len(plans)) + 0.5, [_label(plan, plans) for plan in plans])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("step")
    names = ["skipped", *("hold (K = 1)" if span == 1 else f"K = {span}" for span in spans)]
    patches = [Patch(color=colour, label=name) for colour, name in zip(colours, names)]
    figure.legend(handles=patches, loc="outside upper center", ncols=len(patches), frameon=False, handlelength=1.2)
    write_plot(out, figure)


def _label(plan: Plan, plans: Sequence[Plan]) -> str:
    """Budget and gamma, and what else tells the plans apart."""
    parts = [f"B={plan.budget}", "" if plan.gamma is None else f"γ={plan.gamma:g}"]
    parts += [
        getattr(plan, name) for name in ("cost_kind", "rule", "model") if len({getattr(p, name) for p in plans}) > 1
    ]
    return ", ".join(filter(None, parts))


@dataclass
class Command:
    """Arguments of the command."""

    map: str = MISSING
    budgets: str = "10,15,20,30,40"
    gamma: float = 4.0
    spans: str = "2,3,4,5"
    cost: str = "velocity"
    out: str = "plans.png"


def main(arguments: Sequence[str]) -> None:
    """Plan each budget on the map and draw the plans."""
    command = OmegaConf.merge(OmegaConf.structured(Command), OmegaConf.from_cli(list(arguments)))
    stability = StabilityMap.load(command.map)
    budgets, spans = ([int(number) for number in text.split(",")] for text in (command.budgets, command.spans))
    requests = [
        PlanRequest(budget, command.gamma, tuple(spans), cost=command.cost) for budget in sorted(budgets, reverse=True)
    ]
    draw_plans([plan_path(stability, request) for request in requests], Path(command.out))
    print(command.out)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ValueError, OmegaConfBaseException) as error:
        sys.exit(f"error: {error}")

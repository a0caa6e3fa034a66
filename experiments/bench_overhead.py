"""What a skipped step costs: `python -m experiments.bench_overhead [model=tiny_flux] [repeats=5]`.

Times every solver step of every method in one process and prints medians and their share of a computed step of a bare
run. The pipeline's own loop is part of all. Methods stand beside the same one in another library, at the same
decisions; blocks that run at a skipped step (the first of FBCache and DBCache) are part of its cost.
"""

import sys
from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from experiments.compose import compose_config
from experiments.job import Job
from meancache.adapters import adapter_for
from meancache.config import RunConfig
from meancache.method import Full, MeanCache
from meancache.pipelines import load_pipeline
from meancache.plan import RULES, Plan
from meancache.protocols import Method
from meancache.schedule import Schedule
from meancache.session import attach
from meancache.timing import now

LONGEST_SPAN = 5
METHODS = (
    "method=dbcache fn=1 threshold=1.5",
    "method=cache_dit fn=1 threshold=1.5",
    "method=dbcache fn=1 threshold=0.6",
    "method=cache_dit fn=1 threshold=0.6",
    "method=dbcache fn=1 threshold=1.5 taylor_order=2",
    "method=cache_dit fn=1 threshold=1.5 taylor_order=2",
    "method=fbcache threshold=0.3",
    "method=diffusers_fbcache threshold=0.3",
    "method=magcache",
    "method=diffusers_magcache",
    "method=taylorseer_lite interval=5",
    "method=diffusers_taylorseer_lite interval=5",
    "method=teacache threshold=1.5",
)


class StepTime(NamedTuple):
    """One solver step: its seconds, and whether all blocks ran."""

    seconds: float
    computed: bool


def step_times(config: RunConfig, pipe: Any, method: Method) -> tuple[list[StepTime], Schedule]:
    """Every solver step but the first, and the sigma grid they ran on."""
    ticks: list[tuple[float, float]] = []

    def tick(pipe: Any, index: int, timestep: Any, state: dict[str, Any]) -> dict[str, Any]:
        ticks.append((now(session.device), session.run.counters.full_calls))
        return state

    with attach(pipe, adapter_for(pipe), method) as session:
        generator = torch.Generator().manual_seed(0)
        steps = config.model.num_steps
        call = config.model.call | {"output_type": "latent", "callback_on_step_end": tick}
        pipe(prompt="a red circle above a blue star", generator=generator, num_inference_steps=steps, **call)
    times = [StepTime(after[0] - before[0], after[1] > before[1]) for before, after in pairwise(ticks)]
    return times, session.run.schedule


def methods(config: RunConfig, schedule: Schedule, overrides: list[str]) -> dict[str, Method]:
    """What is timed, by the label of its row."""
    nodes = tuple(range(LONGEST_SPAN + 1)) + tuple(range(10, schedule.num_steps, 8))
    orders = (1,) * LONGEST_SPAN + (LONGEST_SPAN,) * (len(nodes) - LONGEST_SPAN)
    found: dict[str, Method] = {
        f"MeanCache ({rule})": MeanCache(Plan(config.model.name, schedule, nodes, orders, rule)) for rule in RULES
    }
    for line in METHODS:
        row = compose_config([*overrides, *line.split()])
        found[str(row.label)] = Job(row).method
    return found


def measure(config: RunConfig, repeats: int, overrides: list[str]) -> tuple[list[float], Mapping[str, list[float]]]:
    """Seconds of the steps of bare runs, and of the steps that each method skipped."""
    pipe = load_pipeline(config.model, config.runtime)
    _, schedule = step_times(config, pipe, Full())
    rows = methods(config, schedule, overrides)
    computed: list[float] = []
    skipped: dict[str, list[float]] = {label: [] for label in rows}
    for _ in range(repeats):  # interleaved, so that a busy machine slows all alike
        computed += [step.seconds for step in step_times(config, pipe, Full())[0]]
        for label, method in rows.items():
            skipped[label] += [step.seconds for step in step_times(config, pipe, method)[0] if not step.computed]
    return computed, skipped


def main(arguments: list[str]) -> None:
    options = dict(argument.split("=", 1) for argument in arguments if argument.startswith("repeats="))
    repeats = options.get("repeats", "5")
    if not repeats.isdigit() or int(repeats) < 1:
        sys.exit(f"error: repeats must be a whole number >= 1, got {repeats!r}")
    overrides = [argument for argument in arguments if not argument.startswith("repeats=")]
    config = compose_config(overrides)
    seconds, skipped = measure(config, int(repeats), overrides)
    computed = median(seconds)
    table = Table(title=f"{config.model.name}, {config.runtime.device}, {torch.get_num_threads()} thread(s)")
    for heading in ("step", "n", "ms (median)", "share of a computed step"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    table.add_row("computed", str(len(seconds)), f"{computed * 1e3:.3f}", "100 %")
    for label, times in skipped.items():
        cells = (f"{median(times) * 1e3:.3f}", f"{median(times) / computed:.1%}") if times else ("-", "-")
        table.add_row(f"skipped by {label}", str(len(times)), *cells)
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])

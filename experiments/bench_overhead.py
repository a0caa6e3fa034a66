"""What a skipped step costs: `python -m experiments.bench_overhead [model=tiny_flux] [repeats=5]`.

Times every solver step of full and of MeanCache runs in one process and prints medians and their ratio. The pipeline's
own loop is part of both.
"""

import sys
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from experiments.compose import compose_config
from meancache.adapters import adapter_for
from meancache.config import RunConfig
from meancache.method import Full, MeanCache
from meancache.pipelines import load_pipeline
from meancache.plan import RULES, Plan
from meancache.protocols import VelocityMethod
from meancache.schedule import Schedule
from meancache.session import attach
from meancache.timing import now

LONGEST_SPAN = 5


def step_seconds(config: RunConfig, pipe: Any, method: VelocityMethod) -> tuple[list[float], Schedule]:
    """Seconds of every solver step but the first, and the sigma grid they ran on."""
    ticks = []

    def tick(pipe: Any, index: int, timestep: Any, state: dict[str, Any]) -> dict[str, Any]:
        ticks.append(now(session.device))
        return state

    with attach(pipe, adapter_for(pipe), method) as session:
        generator = torch.Generator().manual_seed(0)
        steps = config.model.num_steps
        call = config.model.call | {"output_type": "latent", "callback_on_step_end": tick}
        pipe(prompt="a red circle above a blue star", generator=generator, num_inference_steps=steps, **call)
    return [after - before for before, after in pairwise(ticks)], session.run.schedule


def measure(config: RunConfig, repeats: int) -> dict[str, list[float]]:
    """Seconds of computed steps, and of the steps each rule skipped."""
    pipe = load_pipeline(config.model, config.runtime)
    _, schedule = step_seconds(config, pipe, Full())
    nodes = tuple(range(LONGEST_SPAN + 1)) + tuple(range(10, schedule.num_steps, 8))
    orders = (1,) * LONGEST_SPAN + (LONGEST_SPAN,) * (len(nodes) - LONGEST_SPAN)
    plans = {rule: Plan(config.model.name, schedule, nodes, orders, rule) for rule in RULES}
    seconds: dict[str, list[float]] = {"computed": [], **{rule: [] for rule in plans}}
    for _ in range(repeats):  # interleaved, so that a busy machine slows all alike
        seconds["computed"] += step_seconds(config, pipe, Full())[0]
        for rule, plan in plans.items():
            times, _ = step_seconds(config, pipe, MeanCache(plan))
            seconds[rule] += [spent for step, spent in enumerate(times, start=1) if not plan.computes(step)]
    return seconds


def main(arguments: list[str]) -> None:
    options = dict(argument.split("=", 1) for argument in arguments if argument.startswith("repeats="))
    repeats = options.get("repeats", "5")
    if not repeats.isdigit() or int(repeats) < 1:
        sys.exit(f"error: repeats must be a whole number >= 1, got {repeats!r}")
    config = compose_config([argument for argument in arguments if not argument.startswith("repeats=")])
    seconds = measure(config, int(repeats))
    computed = median(seconds.pop("computed"))
    table = Table(title=f"{config.model.name}, {config.runtime.device}, {torch.get_num_threads()} thread(s)")
    for heading in ("step", "ms (median)", "share of a computed step"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    table.add_row("computed", f"{computed * 1e3:.3f}", "100 %")
    for rule, times in seconds.items():
        table.add_row(f"skipped, rule={rule}", f"{median(times) * 1e3:.3f}", f"{median(times) / computed:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Latency, speed-up and memory of methods on one machine, side by side.

python -m experiments.bench_latency                                     the embedded model, on this CPU
python -m experiments.bench_latency model=flux weights=random runtime=gpu [runtime.compile=true] [publish=<folder>]
python -m experiments.bench_latency model=qwen_image weights=random runtime=gpu                    the rows of Table 1
python -m experiments.bench_latency model=hunyuan_video weights=random runtime=gpu                 the rows of Table 2

``weights=random`` builds the full-size architecture without a download: what a step costs does not depend on what the
weights are. Decisions of threshold methods do, so their NFE is that of noise; the column "of limit" compares with the
speed-up that this NFE allows, num_steps / NFE, and that is what the table is about. MeanCache follows evenly spread
nodes, with JVPs; its cost depends on their number alone. One sample a call.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from experiments.compose import compose_config
from experiments.errors import run_program
from experiments.full_size.bench_rows import rows_of
from experiments.full_size.cache_rows import evenly
from experiments.full_size.random_weights import random_pipeline
from experiments.job import Job
from meancache.adapters import adapter_for
from meancache.artifacts import environment, make_folder, write_atomic
from meancache.config import RunConfig
from meancache.method import Full
from meancache.pipelines import load_pipeline, prepare, start_runtime
from meancache.planner import PlanRequest
from meancache.protocols import Method
from meancache.schedule import Schedule
from meancache.session import attach
from meancache.timing import now, peak_memory_mib, reset_peak_memory


@dataclass(frozen=True)
class Timing:
    """One method: medians over repeats; ``limit`` is num_steps / NFE and ``of_limit`` the share of it reached."""

    label: str
    nfe: float
    text_seconds: float
    denoise_seconds: float
    vae_seconds: float
    peak_memory_mib: float
    speedup: float = 1.0
    of_limit: float = 1.0


def time_method(config: RunConfig, pipe: Any, inputs: dict[str, Any], schedule: Schedule, repeats: int) -> Timing:
    """Run a method once to warm up and ``repeats`` times to measure."""
    method, steps = _method(config, schedule), int(config.method.get("num_steps", config.model.num_steps))
    device = torch.device(config.runtime.device)
    rows = []
    for number in range(repeats + 1):
        if number == 1:
            reset_peak_memory(device)
        with attach(pipe, adapter_for(pipe), method) as session:
            began = now(device)
            pipe(**inputs, generator=torch.Generator().manual_seed(0), num_inference_steps=steps)
            ended = now(device)
        clock = session.run.counters
        rows.append((clock.began - began, clock.ended - clock.began, ended - clock.ended))
    text, denoise, vae = (median(column) for column in zip(*rows[1:]))
    return Timing(config.label, session.run.nfe, text, denoise, vae, peak_memory_mib(device))


def _method(config: RunConfig, schedule: Schedule) -> Method:
    job = Job(config)
    request = job.plan_request
    if not isinstance(request, PlanRequest):
        return job.method
    return evenly(config.model.name, schedule, request.budget)


def measure(options: dict[str, str], overrides: Sequence[str]) -> list[Timing]:
    """Every row on one pipeline; the first is the reference of the others."""
    rows = rows_of(options, compose_config(overrides).model.name)
    first = compose_config([*overrides, *rows[0]])
    model, steps = first.model, first.model.num_steps
    if options.get("weights") == "random":
        start_runtime(first.runtime)
        pipe, inputs = random_pipeline(model, first.runtime.device)
        pipe = prepare(pipe, model, first.runtime)
    else:
        pipe, inputs = load_pipeline(model, first.runtime), {"prompt": "a red circle above a blue star"}
    inputs = model.call | inputs
    with attach(pipe, adapter_for(pipe), Full()) as session:
        pipe(**inputs | {"output_type": "latent"}, num_inference_steps=steps)
    timings = []
    for row in rows:
        try:
            config = compose_config([*overrides, *row])
            timings.append(time_method(config, pipe, inputs, session.run.schedule, int(options.get("repeats", "3"))))
        except (ValueError, torch.cuda.OutOfMemoryError) as error:  # e.g. features inside compiled blocks
            if row is rows[0]:
                raise
            print(f"{' '.join(row)}: left out: {error}", file=sys.stderr)
    reference = timings[0].denoise_seconds
    return [
        replace(t, speedup=reference / t.denoise_seconds, of_limit=reference / t.denoise_seconds / (steps / t.nfe))
        for t in timings
    ]


def show(timings: Sequence[Timing], title: str) -> None:
    table = Table(title=title)
    for heading in ("method", "NFE", "text s", "denoise s", "VAE s", "speed-up", "of limit", "peak MiB"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for t in timings:
        seconds = (f"{value:.3f}" for value in (t.text_seconds, t.denoise_seconds, t.vae_seconds))
        table.add_row(
            t.label, f"{t.nfe:.4g}", *seconds, f"{t.speedup:.2f}x", f"{t.of_limit:.1%}", f"{t.peak_memory_mib:.0f}"
        )
    Console(width=130).print(table)


def main(arguments: Sequence[str]) -> None:
    own = ("weights", "repeats", "publish", "rows")
    options = dict(a.split("=", 1) for a in arguments if a.split("=", 1)[0] in own)
    overrides = [a for a in arguments if a.split("=", 1)[0] not in own]
    timings = measure(options, overrides)
    config = compose_config(overrides)
    about = environment(config.runtime.device) | options | {"runtime": asdict(config.runtime)}
    about |= {"model": config.model.name, "call": config.model.call}
    compiled = str(config.runtime.compile).lower()
    show(timings, f"{config.model.name}, {about['device']}, compile={compiled}")
    if "publish" in options:
        target = make_folder(Path(options["publish"])) / f"{config.model.name}-compile_{compiled}.json"
        write_atomic(target, json.dumps({"about": about, "rows": [asdict(t) for t in timings]}, indent=1))
        print(target)


if __name__ == "__main__":
    run_program(main)

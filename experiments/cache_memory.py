"""Memory that every method keeps from step to step at full size: `python -m experiments.cache_memory`.

python -m experiments.cache_memory [models=flux,qwen_image] [publish=experiments/results/cache_memory]

There is no formula here. Pipeline, session and method are the real ones and run all 50 steps, but on tensors without
data; after each step the storages that the method's states, past steps and placeholders lead to are added up
(`meancache.memory`, which a test compares with all memory that really lives). The table has the most over the run: one
sample, bfloat16, all guidance branches. What a step needs while it runs comes on top.

What a method keeps does not depend on when it computes, so thresholds, calibration constants and plans are made up:
numbers that a method reads off a tensor are 0, and plans spread their steps evenly.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from baselines.taylorseer_lite import TaylorSeerLite
from eval.cells import markdown_table
from experiments.compose import compose_config
from experiments.errors import run_program
from experiments.full_size.cache_rows import NUM_STEPS, ROWS, method_of
from experiments.full_size.no_data import without_data
from experiments.full_size.other_models import OTHERS
from experiments.full_size.paper_models import without_weights
from experiments.full_size.random_weights import FULL_SIZE
from meancache.artifacts import environment, make_folder, write_atomic
from meancache.config import ModelConfig
from meancache.memory import kept, num_bytes
from meancache.models import adapter_for
from meancache.pipelines import DTYPES
from meancache.protocols import Method
from meancache.schedule import Schedule
from meancache.session import attach

MODELS = FULL_SIZE | OTHERS
GIB, MIB = 2**30, 2**20


def most_kept(pipe: Any, method: Method, inputs: Mapping[str, Any], num_steps: int = NUM_STEPS) -> int:
    """Bytes that a method keeps after a step, at most over a run of a pipeline."""
    sizes = []

    def callback(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        sizes.append(num_bytes(kept(session.run)))
        return tensors

    settings = {"num_inference_steps": num_steps, "output_type": "latent", "callback_on_step_end": callback}
    with attach(pipe, adapter_for(pipe), method) as session:
        pipe(**inputs, **settings)
    return max(sizes)


def schedule_of(pipe: Any, inputs: Mapping[str, Any]) -> Schedule:
    """The sigma grid of a run, by one that computes its first step alone."""
    with attach(pipe, adapter_for(pipe), TaylorSeerLite(NUM_STEPS, warmup=1, order=0)) as session:
        pipe(**inputs, num_inference_steps=NUM_STEPS, output_type="latent")
    return session.run.schedule


def prepared(model: ModelConfig) -> tuple[Any, dict[str, Any]]:
    """A model's full-size pipeline without data, and the arguments of a call."""
    make, embeddings = MODELS[model.name]
    pipe = without_weights(make)
    pipe.transformer.to(DTYPES[model.dtype])
    pipe.set_progress_bar_config(disable=True)
    prompt = embeddings(pipe.transformer.config, lambda *shape: torch.zeros(1, *shape, dtype=DTYPES[model.dtype]))
    return pipe, model.call | prompt


def measure(model: ModelConfig, log: Console) -> dict[str, int]:
    """Bytes by method."""
    pipe, inputs = prepared(model)
    sizes = {}
    with without_data(pipe):
        schedule = schedule_of(pipe, inputs)
        for label in ROWS:
            sizes[label] = most_kept(pipe, method_of(label, model.name, schedule), inputs)
            log.print(f"{title(model)}, {label}: {readable(sizes[label])}")
    return sizes


def title(model: ModelConfig) -> str:
    size = (model.call["width"], model.call["height"], model.call.get("num_frames"))
    return f"{model.name} {'x'.join(str(number) for number in size if number)}"


def readable(size: int) -> str:
    return f"{size / GIB:.2f} GiB" if size >= GIB else f"{size / MIB:.2f} MiB"


def rows_of(sizes: Mapping[str, Mapping[str, int]]) -> list[list[str]]:
    """The table's cells, headings first."""
    labels = next(iter(sizes.values()))
    return [["method", *sizes], *([label, *(readable(column[label]) for column in sizes.values())] for label in labels)]


def show(rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=f"kept from step to step, at most over {NUM_STEPS} steps; one sample, bfloat16")
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading == rows[0][0] else "right")
    for row in rows[1:]:
        table.add_row(*row)
    Console(width=150).print(table)


def publish(folder: Path, sizes: Mapping[str, Mapping[str, int]]) -> None:
    rows = rows_of(sizes)
    content = {"about": environment("cpu") | {"num_steps": NUM_STEPS}, "bytes": sizes}
    write_atomic(make_folder(folder) / "table.json", json.dumps(content, indent=1))
    write_atomic(folder / "table.md", markdown_table(rows) + "\n")


def main(arguments: Sequence[str]) -> None:
    options = dict(argument.partition("=")[::2] for argument in arguments)
    if unknown := options.keys() - {"models", "publish"}:
        raise ValueError(f"there is no setting {', '.join(sorted(unknown))}; there are models and publish")
    names = options.get("models", ",".join(MODELS)).split(",")
    if unknown := set(names) - set(MODELS):
        raise ValueError(f"no architecture of {', '.join(sorted(unknown))}; models are {', '.join(MODELS)}")
    configs = [compose_config([f"model={name}"]).model for name in names]
    sizes = {title(config): measure(config, Console(stderr=True)) for config in configs}
    show(rows_of(sizes))
    if "publish" in options:
        publish(Path(options["publish"]), sizes)


if __name__ == "__main__":
    run_program(main)

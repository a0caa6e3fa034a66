"""FLOPs of the paper's Tables 1 and 2, published figures beside ours: `python -m experiments.paper_flops`.

Full-size architectures, no weights. Exits with 1 if a figure of Table 1 is not the printed one, or one of Table 2 is
more than 0.01 % off.
"""

import sys
from collections.abc import Mapping

import torch
from rich.console import Console
from rich.table import Table

from experiments.compose import compose_config
from experiments.full_size.image_rows import FLUX, QWEN, ROWS, Row
from experiments.full_size.no_data import first_calls
from experiments.full_size.paper_models import without_weights
from experiments.full_size.random_weights import FULL_SIZE
from experiments.full_size.video_rows import HUNYUAN, VIDEO_ROWS
from meancache.flops import PipelineCosts, pipeline_costs
from meancache.models import adapter_for

MODELS = {FLUX: "flux", QWEN: "qwen_image", HUNYUAN: "hunyuan_video"}
TERA = 1e12
TOLERANCE = 1e-4  # of Table 2's figures, which others counted
LEGEND = (
    "F: a step with all blocks; o: a call's embedders and output layer; mod: modulations of all blocks; "
    "ind: TeaCache's indicator; block: one block a call; tokens: refreshed ones of all blocks; C: text encoders and "
    "VAE decoder, once"
)


def full_size_costs() -> dict[str, PipelineCosts]:
    """Prices at the paper's sizes, those of the models' own configurations."""
    return {title: _costs(name) for title, name in MODELS.items()}


def _costs(name: str) -> PipelineCosts:
    model, (make, embeddings) = compose_config([f"model={name}"]).model, FULL_SIZE[name]
    pipe = without_weights(make)
    pipe.set_progress_bar_config(disable=True)
    inputs = model.call | embeddings(pipe.transformer.config, lambda *shape: torch.zeros(1, *shape))
    return pipeline_costs(pipe, adapter_for(pipe), first_calls(pipe, inputs), model.call)


def tflops(row: Row, costs: Mapping[str, PipelineCosts]) -> float:
    """Ours: the whole pipeline as the paper counts it, or of HunyuanVideo the denoiser as others do."""
    prices = costs[row.model]
    once = 0 if row.model == HUNYUAN else prices.once
    return (prices.run(row.works(prices.full_call)) + once) / TERA


def agrees(row: Row, ours: float) -> bool:
    """Whether ours is the published figure, if any: rounded as the paper rounds, or as near as counters are."""
    if row.paper is None:
        return True
    return abs(ours / row.paper - 1) < TOLERANCE if row.model == HUNYUAN else f"{ours:.2f}" == f"{row.paper:.2f}"


def print_table(console: Console, model: str, ours: Mapping[Row, float]) -> None:
    part = "denoiser of one video of 640x480, 65 frames" if model == HUNYUAN else "one sample, whole pipeline"
    table = Table(title=f"{model}: TFLOPs of {part}")
    for heading in ("method", "formula", "published", "ours", "diff"):
        table.add_column(heading, justify="left" if heading in ("method", "formula") else "right")
    for row, value in ours.items():
        if row.model == model:
            published = ("-", "-") if row.paper is None else (f"{row.paper:.2f}", f"{value - row.paper:+.4f}")
            table.add_row(row.method, row.formula, published[0], f"{value:.4f}", published[1])
    console.print(table)


def main() -> int:
    """Print the tables. Returns the exit status."""
    costs, console = full_size_costs(), Console()
    ours = {row: tflops(row, costs) for row in (*ROWS, *VIDEO_ROWS)}
    for model in costs:
        print_table(console, model, ours)
    published = [row for row in ours if row.paper is not None]
    equal = sum(agrees(row, ours[row]) for row in published)
    console.print(LEGEND)
    console.print(f"{equal} of {len(published)} figures agree: Table 1's to the printed digit, Table 2's within 0.01 %")
    return 0 if equal == len(published) else 1


if __name__ == "__main__":
    sys.exit(main())

"""FLOPs of the paper's Table 1, the paper's beside ours: `python -m experiments.paper_flops`.

Full-size architectures, no weights. Exits with 1 if a figure is not the printed one.
"""

import sys

from rich.console import Console
from rich.table import Table

from experiments.full_size import flux, qwen_image, without_weights
from experiments.paper_rows import FLUX, QWEN, ROWS, Row
from meancache.flops import PipelineCosts, pipeline_costs

TERA = 1e12
LEGEND = (
    "F: a step with all blocks; o: a call's embedders and output layer; mod: modulations of all blocks; "
    "ind: TeaCache's indicator; block: one block a call; C: text encoders and VAE decoder, once"
)


def full_size_costs() -> dict[str, PipelineCosts]:
    """Prices at the paper's sizes; FLUX pads text to 512 tokens."""
    return {
        FLUX: pipeline_costs(without_weights(flux), height=1024, width=1024, text_tokens=(512,)),
        QWEN: pipeline_costs(without_weights(qwen_image), height=928, width=1664, text_tokens=(19, 6)),
    }


def pipeline_tflops(row: Row, costs: PipelineCosts) -> float:
    """Ours, the whole pipeline as the paper counts it."""
    return costs.run(row.works(costs.full_call)).pipeline / TERA


def is_printed(row: Row, ours: float) -> bool:
    """Whether ours, rounded as the paper rounds, is the paper's figure."""
    return f"{ours:.2f}" == f"{row.paper:.2f}"


def print_table(console: Console, model: str, ours: dict[Row, float]) -> None:
    table = Table(title=f"{model}: TFLOPs of one sample, whole pipeline")
    for heading in ("method", "formula", "paper", "ours", "diff"):
        table.add_column(heading, justify="left" if heading in ("method", "formula") else "right")
    for row, tflops in ours.items():
        if row.model == model:
            numbers = (f"{row.paper:.2f}", f"{tflops:.4f}", f"{tflops - row.paper:+.4f}")
            table.add_row(row.method, row.formula, *numbers)
    console.print(table)


def main() -> int:
    """Print the tables. Returns the exit status."""
    costs, console = full_size_costs(), Console()
    ours = {row: pipeline_tflops(row, costs[row.model]) for row in ROWS}
    for model in costs:
        print_table(console, model, ours)
    equal = sum(is_printed(row, tflops) for row, tflops in ours.items())
    largest = max(abs(tflops - row.paper) for row, tflops in ours.items())
    console.print(LEGEND)
    console.print(f"{equal} of {len(ROWS)} figures equal the printed ones; largest difference {largest:.4f} T")
    return 0 if equal == len(ROWS) else 1


if __name__ == "__main__":
    sys.exit(main())

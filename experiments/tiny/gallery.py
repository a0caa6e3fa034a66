"""Sheets of pictures with their prompts, enlarged so that a person can judge them."""

import textwrap
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from experiments.tiny.config import TinyConfig
from experiments.tiny.models import family

SIDE = 192
LABEL = 40


def sample(
    pipe: Any,
    prompts: Sequence[str],
    config: TinyConfig,
    *,
    seed: int = 0,
    steps: int = 50,
    guidance: float | None = None,
    batch: int = 16,
    output_type: str = "pil",
) -> list:
    """Pictures of the prompts with the real pipeline; prompt k starts from the noise of generator seed + k.

    Args:
        pipe: The exported model, or one assembled from checkpoints.
        prompts: B of them.
        config: Names the model.
        seed: Of the first prompt.
        steps: Solver steps.
        guidance: Scale; the model's default if not given.
        batch: Prompts drawn at once.
        output_type: "pil" or "pt".

    Returns:
        One picture per prompt: PIL images, or tensors (3, H, W) in [0, 1] with `output_type="pt"`.
    """
    kind = family(config)
    options = kind.options(kind.guidance if guidance is None else guidance)
    pipe.set_progress_bar_config(disable=True)
    pictures = []
    for start in range(0, len(prompts), batch):
        part = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(seed + start + k) for k in range(len(part))]
        output = pipe(
            part,
            height=config.picture_size,
            width=config.picture_size,
            num_inference_steps=steps,
            generator=generators,
            output_type=output_type,
            **options,
        )
        pictures += list(output.images)
    return pictures


def sheet(pictures: Sequence[Image.Image], prompts: Sequence[str], columns: int = 6) -> Image.Image:
    """Pictures in rows, each above its prompt."""
    width = pictures[0].width
    side, rows = width * round(SIDE / width), -(-len(pictures) // columns)
    canvas = Image.new("RGB", (columns * (side + 6), rows * (side + LABEL + 6)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    for k, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        x, y = (k % columns) * (side + 6), (k // columns) * (side + LABEL + 6)
        canvas.paste(picture.resize((side, side), Image.Resampling.NEAREST), (x, y))
        label = "\n".join(textwrap.wrap(prompt, side * 3 // 16)[:3])
        pen.text((x + 2, y + side + 1), label, fill="black", font=font, spacing=1)
    return canvas

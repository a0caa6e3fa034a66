"""Sheets of pictures with their prompts, enlarged so that a person can judge them."""

import textwrap
from collections.abc import Sequence

import torch
from diffusers import FluxPipeline
from PIL import Image, ImageDraw, ImageFont

from experiments.tiny.draw import SIZE
from experiments.tiny.tokens import T5_LENGTH

GUIDANCE = 3.5
ZOOM = 3
LABEL = 40


def sample(
    pipe: FluxPipeline,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    steps: int = 50,
    guidance: float = GUIDANCE,
    batch: int = 16,
    output_type: str = "pil",
) -> list:
    """Pictures of the prompts with the real pipeline; prompt k starts from the noise of generator seed + k.

    Returns:
        One picture per prompt: PIL images, or tensors (3, H, W) in [0, 1] with `output_type="pt"`.
    """
    pipe.set_progress_bar_config(disable=True)
    pictures = []
    for start in range(0, len(prompts), batch):
        part = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(seed + start + k) for k in range(len(part))]
        output = pipe(
            part,
            height=SIZE,
            width=SIZE,
            max_sequence_length=T5_LENGTH,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators,
            output_type=output_type,
        )
        pictures += list(output.images)
    return pictures


def sheet(pictures: Sequence[Image.Image], prompts: Sequence[str], columns: int = 6) -> Image.Image:
    """Pictures in rows, each above its prompt."""
    side, rows = SIZE * ZOOM, -(-len(pictures) // columns)
    canvas = Image.new("RGB", (columns * (side + 6), rows * (side + LABEL + 6)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    for k, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        x, y = (k % columns) * (side + 6), (k // columns) * (side + LABEL + 6)
        canvas.paste(picture.resize((side, side), Image.Resampling.NEAREST), (x, y))
        pen.text((x + 2, y + side + 1), "\n".join(textwrap.wrap(prompt, 36)[:3]), fill="black", font=font, spacing=1)
    return canvas

"""Sheets of pictures and videos with their prompts, enlarged so that a person can judge them."""

import textwrap
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from embedded.families.registry import family
from embedded.training.options import TinyConfig
from meancache.media import film_strip, first_middle_last

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
    """Pictures or videos of the prompts with the real pipeline; prompt k starts from the noise of generator seed + k.

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
        One picture per prompt: a PIL image (of a video a list of them), or a tensor ([T,] 3, H, W) in [0, 1] with
        `output_type="pt"`.
    """
    kind = family(config)
    options = kind.options(kind.guidance if guidance is None else guidance)
    options |= {"num_frames": config.num_frames} if config.is_video else {}
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
        pictures += list(output.frames if config.is_video else output.images)
    return pictures


def sheet(pictures: Sequence[Any], prompts: Sequence[str], columns: int = 6) -> Image.Image:
    """Pictures (of videos the first, the middle and the last frame) in rows, each above its prompt."""
    strips = [_strip(picture) for picture in pictures]
    if isinstance(pictures[0], list):
        columns //= 2
    (width, height), rows = strips[0].size, -(-len(strips) // columns)
    canvas = Image.new("RGB", (columns * (width + 6), rows * (height + LABEL + 6)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    for k, (strip, prompt) in enumerate(zip(strips, prompts, strict=True)):
        x, y = (k % columns) * (width + 6), (k // columns) * (height + LABEL + 6)
        canvas.paste(strip, (x, y))
        label = "\n".join(textwrap.wrap(prompt, width * 3 // 16)[:3])
        pen.text((x + 2, y + height + 1), label, fill="black", font=font, spacing=1)
    return canvas


def _strip(picture: Any) -> Image.Image:
    """A picture, or three frames of a video side by side, enlarged by whole multiples."""
    frames = first_middle_last(picture) if isinstance(picture, list) else [picture]
    side = frames[0].width * max(1, round(SIDE / frames[0].width / (len(frames) ** 0.5)))
    return film_strip([frame.resize((side, side), Image.Resampling.NEAREST) for frame in frames])

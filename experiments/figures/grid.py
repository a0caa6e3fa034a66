"""Pictures of several runs side by side, as in Figures 1 and 4 of MeanCache; of videos three frames, as in Figure 5."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from eval.row import Row, row_from_run
from experiments.figures.files import write_figure
from meancache.media import film_strip, first_middle_last
from meancache.run_folder import Record, RunFolder

CELL = 256  # a picture's shorter side is brought to about this many pixels; a frame's to half as many
GAP = 8
CAPTION_WIDTH = 200
TEXT_SIZE = 15
LINE = 20


def side_by_side(runs: Sequence[RunFolder], out: Path, limit: int = 8) -> None:
    """Draw a picture grid: one column a run, one row a prompt.

    Args:
        runs: finished run folders; the first is the reference, the others are evaluated against it.
        out: PNG to write.
        limit: most rows, spread evenly over the samples that all runs have.

    Raises:
        ValueError: an unfinished or unevaluated run, no common sample, or limit < 1.
    """
    if limit < 1:
        raise ValueError(f"the grid needs a limit of at least 1 row, got {limit}")
    records = [{record.key: record for record in run.records()} for run in runs]
    keys = [key for key in records[0] if all(key in others for others in records)]
    if not keys:
        raise ValueError(f"no prompt and seed is in all of {', '.join(str(run.path) for run in runs)}")
    count = min(limit, len(keys))
    keys = [keys[position * len(keys) // count] for position in range(count)]
    pictures = [[picture_of(run, some[key]) for run, some in zip(runs, records)] for key in keys]
    prompts = [records[0][key].prompt for key in keys]
    headers = [header_of(row_from_run(run, runs[0])) for run in runs]
    write_figure(out, lambda file: compose_grid(pictures, prompts, headers).save(file, format="PNG"))


def picture_of(run: RunFolder, record: Record) -> Image.Image:
    """The picture at the size of its cell; of a video the first, the middle and the last frame."""
    sample = run.load(record)
    if sample.ndim == 3:
        return _scaled(sample, CELL)
    return film_strip([_scaled(frame, CELL // 2) for frame in first_middle_last(list(sample))])


def _scaled(image: Tensor, shorter: int) -> Image.Image:
    """(3, H, W) in [0, 1] to about this size: whole multiples of small pictures, so that every pixel stays a square."""
    picture = Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    scale = shorter / min(picture.size)
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    scale = round(scale) if scale >= 1 else scale
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), method)


def header_of(row: Row) -> tuple[str, str]:
    """Label of a run, and what it cost and gave."""
    facts = [f"NFE {row.nfe:.4g}"]
    score = row.metrics.get("psnr")
    if score is not None:
        facts.append(f"PSNR {score:.2f} dB")
    if row.reference:
        facts.append("reference")
    elif row.speedup is not None:
        facts.append(f"{row.speedup:.2f}x")
    return row.label, ", ".join(facts)


def compose_grid(
    pictures: Sequence[Sequence[Image.Image]], prompts: Sequence[str], headers: Sequence[tuple[str, str]]
) -> Image.Image:
    width = max(picture.width for row in pictures for picture in row)
    height = max(picture.height for row in pictures for picture in row)
    plain, bold = _font("normal"), _font("bold")
    titles = [_wrap(label, bold, width, 3) + _wrap(facts, plain, width, 2) for label, facts in headers]
    top = GAP + LINE * max(len(lines) for lines in titles) + GAP
    size = (CAPTION_WIDTH + (width + GAP) * len(headers) + GAP, top + (height + GAP) * len(pictures))
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, (lines, (label, _)) in enumerate(zip(titles, headers)):
        num_bold = len(_wrap(label, bold, width, 3))
        for number, line in enumerate(lines):
            position = (CAPTION_WIDTH + GAP + column * (width + GAP), GAP + number * LINE)
            draw.text(position, line, fill="black", font=bold if number < num_bold else plain)
    for index, (row, prompt) in enumerate(zip(pictures, prompts)):
        y = top + index * (height + GAP)
        lines = _wrap(prompt, plain, CAPTION_WIDTH - 2 * GAP, height // LINE)
        draw.multiline_text((GAP, y), "\n".join(lines), fill="black", font=plain, spacing=LINE - TEXT_SIZE)
        for column, picture in enumerate(row):
            canvas.paste(picture, (CAPTION_WIDTH + GAP + column * (width + GAP), y))
    return canvas


def _font(weight: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight=weight)), TEXT_SIZE)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int, max_lines: int) -> list[str]:
    for letters in range(len(text), 5, -1):
        lines = textwrap.wrap(text, letters, max_lines=max_lines, placeholder=" ...")
        if all(font.getlength(line) <= width for line in lines):
            return lines
    return [text]

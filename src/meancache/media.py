"""Samples as files. A picture is a PNG; a video is a PNG strip, all frames from top to bottom, and an MP4 to look at.

Scores are computed from the strip: it is lossless, one file, and opens anywhere. An MP4 is neither exact nor complete.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import imageio.v3 as imageio
import numpy as np
from PIL import Image

MP4_QUALITY = 9  # of 10; the usual 5 blurs small frames


def png(sample: Image.Image | Sequence[Image.Image]) -> bytes:
    """A picture, or the strip of a video's frames."""
    if not isinstance(sample, Image.Image):
        sample = Image.fromarray(np.concatenate([np.asarray(frame) for frame in sample]))
    buffer = BytesIO()
    sample.save(buffer, format="PNG")
    return buffer.getvalue()


def first_middle_last(video: Sequence[Any]) -> list[Any]:
    """The first, the middle and the last frame."""
    return [video[0], video[len(video) // 2], video[-1]]


def film_strip(frames: Sequence[Image.Image]) -> Image.Image:
    """Frames of one size from left to right, a thin white line between them; to look at."""
    width, height = frames[0].size
    strip = Image.new("RGB", (len(frames) * (width + 2) - 2, height), "white")
    for k, frame in enumerate(frames):
        strip.paste(frame, (k * (width + 2), 0))
    return strip


def mp4(frames: Sequence[Image.Image], fps: int) -> bytes:
    """A video to look at, H.264."""
    pixels = np.stack([np.asarray(frame) for frame in frames])
    return imageio.imwrite("<bytes>", pixels, extension=".mp4", plugin="FFMPEG", fps=fps, quality=MP4_QUALITY)

"""Samples as files. A picture is a PNG; a video is a PNG strip, all frames from top to bottom, and an MP4 to look at.

Scores are computed from the strip: it is lossless, one file, and opens anywhere. An MP4 is neither exact nor complete.
"""

from collections.abc import Sequence
from io import BytesIO

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


def mp4(frames: Sequence[Image.Image], fps: int) -> bytes:
    """A video to look at, H.264."""
    pixels = np.stack([np.asarray(frame) for frame in frames])
    return imageio.imwrite("<bytes>", pixels, extension=".mp4", plugin="FFMPEG", fps=fps, quality=MP4_QUALITY)

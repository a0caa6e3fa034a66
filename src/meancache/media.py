"""Samples as files. A picture is a PNG; a video is a PNG strip, all frames from top to bottom, and an MP4 to look at.

Scores are computed from the strip: it is lossless, one file, and opens anywhere. An MP4 is neither exact nor complete.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

MP4_QUALITY = 9.0  # of 10; diffusers' 5 blurs small frames


def png(sample: Image.Image | Sequence[Image.Image]) -> bytes:
    """A picture, or the strip of a video's frames."""
    if not isinstance(sample, Image.Image):
        sample = Image.fromarray(np.concatenate([np.asarray(frame) for frame in sample]))
    buffer = BytesIO()
    sample.save(buffer, format="PNG")
    return buffer.getvalue()


def mp4(frames: Sequence[Image.Image], fps: int) -> bytes:
    """A video to look at, H.264."""
    from diffusers.utils import export_to_video  # takes seconds

    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        export_to_video(list(frames), str(path), fps=fps, quality=MP4_QUALITY)
        return path.read_bytes()

"""Pictures as a network's own preparation wants them: 8-bit RGB, of which run folders are made."""

from collections.abc import Iterator

from PIL import Image
from torch import Tensor


def as_pil(images: Tensor) -> Iterator[Image.Image]:
    """Each picture as the 8-bit one it was read from. (B, 3, H, W) float32 in [0, 1]"""
    for image in images:
        yield Image.fromarray((image * 255).round().byte().permute(1, 2, 0).cpu().numpy())

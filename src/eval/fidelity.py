"""How close pictures are to their references, pixel by pixel: PSNR and SSIM of torchmetrics.

Both are computed per picture on float32 in [0, 1]. Never on uint8: the difference of two bytes wraps modulo 256, so
that two unrelated pictures score 27.9 dB instead of 7.75 dB, a mistake that published tables have.
"""

import torch
from torch import Tensor

SSIM_WINDOW = 11  # what torchmetrics takes for a Gaussian of sigma 1.5


def psnr(images: Tensor, references: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, peak 1; inf for identical pictures. (B, 3, H, W) twice -> (B,)

    Raises:
        ValueError: not two equal batches of float pictures in [0, 1].
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio  # takes seconds to import

    check_pictures(images, references)
    return peak_signal_noise_ratio(images, references, data_range=1.0, reduction="none", dim=(1, 2, 3))


def ssim(images: Tensor, references: Tensor) -> Tensor:
    """Structural similarity, Gaussian window of 11 pixels and sigma 1.5. (B, 3, H, W) twice -> (B,)

    Borders are reflected, as torchmetrics does: at 64 pixels 0.786 where the windows inside alone give 0.792.

    Raises:
        ValueError: not two equal batches of float pictures in [0, 1], or pictures smaller than the window.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    check_pictures(images, references, smallest=SSIM_WINDOW)
    scores = structural_similarity_index_measure(images, references, data_range=1.0, reduction="none", sigma=1.5)
    assert isinstance(scores, Tensor), "no full image was asked for"
    return scores.reshape(-1)


def check_pictures(images: Tensor, references: Tensor, *, smallest: int = 1) -> None:
    """Raise ValueError unless both are (B, 3, H, W) float pictures in [0, 1] with sides of at least ``smallest``."""
    if images.shape != references.shape or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"pictures and references must both be (B, 3, H, W), got {tuple(images.shape)} and "
            f"{tuple(references.shape)}; was the reference generated at another resolution?"
        )
    if min(images.shape[-2:]) < smallest:
        raise ValueError(
            f"this metric needs pictures of at least {smallest} x {smallest} pixels, got {tuple(images.shape[-2:])}"
        )
    for pictures in (images, references):
        if pictures.dtype != torch.float32 or pictures.min() < 0 or pictures.max() > 1:
            raise ValueError(f"pictures must be float32 in [0, 1], got {pictures.dtype}")

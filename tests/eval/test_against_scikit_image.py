"""PSNR and SSIM against scikit-image, on pictures as run folders hold them."""

import numpy as np
import pytest
import torch
from skimage.data import astronaut, chelsea
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from eval.fidelity import psnr, ssim

RADIUS = 5  # of the Gaussian window


def as_batch(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1).float()[None] / 255


def noisy(picture: np.ndarray, strength: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, strength, picture.shape)
    return (picture + noise).round().clip(0, 255).astype(np.uint8)


PAIRS = {
    "a little noise": (chelsea(), noisy(chelsea(), 3)),
    "much noise, odd sides": (chelsea()[:151, :97], noisy(chelsea()[:151, :97], 80)),  # where bytes wrap around
    "another picture": (chelsea()[:128, :128], astronaut()[:128, :128]),
    "the smallest": (chelsea()[:11, :11], noisy(chelsea()[:11, :11], 20)),
    "the negative": (chelsea()[:64, :64], 255 - chelsea()[:64, :64]),
}


@pytest.mark.parametrize(("reference", "picture"), PAIRS.values(), ids=PAIRS)
def test_psnr(reference, picture):
    expected = peak_signal_noise_ratio(reference, picture)
    assert psnr(as_batch(picture), as_batch(reference)).item() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("reference", "picture"), PAIRS.values(), ids=PAIRS)
def test_ssim(reference, picture):
    """Ours reflects pictures at their border, where scikit-image gives no score: it is given the reflection."""
    border = ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0))
    both = [np.pad(one / 255, border, mode="reflect") for one in (reference, picture)]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(*both, data_range=1.0, channel_axis=-1, **settings)
    assert ssim(as_batch(picture), as_batch(reference)).item() == pytest.approx(expected, abs=1e-4)


def test_identical_pictures():
    picture = as_batch(chelsea())
    assert psnr(picture, picture).item() == np.inf and ssim(picture, picture).item() == pytest.approx(1)

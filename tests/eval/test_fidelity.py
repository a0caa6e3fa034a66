import math
from itertools import pairwise

import pytest
import torch

from eval.fidelity import psnr, ssim


def test_psnr_of_known_differences():
    references = torch.full((3, 3, 16, 16), 0.5)
    images = references.clone()
    images[0] += 0.1  # mean squared error 0.01: 20 dB
    images[1, :, :8] += 0.1  # half of the pixels: 10 log10(200) dB
    scores = psnr(images, references)
    assert scores[:2].tolist() == pytest.approx([20.0, 10 * math.log10(200)], abs=1e-4)
    assert scores[2] == math.inf


def test_psnr_does_not_wrap_around_as_bytes_do():
    images, references = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    bytes_apart = (images * 255).byte() - (references * 255).byte()
    wrapped = 10 * math.log10(255**2 / bytes_apart.pow(2).float().mean())
    assert wrapped == pytest.approx(27.9, abs=0.1)
    # two independent uniform values differ by 1/6 in the mean square: 10 log10(6) = 7.78 dB
    assert psnr(images, references).tolist() == pytest.approx([10 * math.log10(6)] * 2, abs=0.15)


def test_ssim_is_one_for_identical_pictures_and_falls_with_noise(pictures, add_noise):
    scores = [ssim(add_noise(pictures, strength), pictures) for strength in (0, 0.02, 0.1, 0.4)]
    assert scores[0].tolist() == pytest.approx([1.0, 1.0], abs=1e-6)
    assert all((a > b).all() for a, b in pairwise(scores))


@pytest.mark.parametrize("score", [psnr, ssim])
def test_a_score_does_not_depend_on_the_batch(score, pictures, add_noise):
    images = add_noise(pictures, 0.1)
    together = score(images, pictures)
    assert together.shape == (2,)
    assert torch.allclose(together[1:], score(images[1:], pictures[1:]), atol=1e-6)


def test_pictures_smaller_than_the_ssim_window_are_refused():
    assert ssim(torch.rand(1, 3, 11, 11), torch.rand(1, 3, 11, 11)).isfinite()
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(torch.rand(1, 3, 10, 64), torch.rand(1, 3, 10, 64))


@pytest.mark.parametrize("score", [psnr, ssim])
@pytest.mark.parametrize(
    ("images", "references", "message"),
    [
        (torch.rand(1, 3, 16, 16), torch.rand(1, 3, 32, 32), "another resolution"),
        (torch.rand(3, 16, 16), torch.rand(3, 16, 16), "B, 3, H, W"),
        (torch.ones(1, 3, 16, 16).byte(), torch.ones(1, 3, 16, 16).byte(), "float32"),
        (torch.ones(1, 3, 16, 16) * 255, torch.ones(1, 3, 16, 16), "in \\[0, 1\\]"),
    ],
)
def test_wrong_pictures_are_refused(score, images, references, message):
    with pytest.raises(ValueError, match=message):
        score(images, references)

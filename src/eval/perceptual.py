"""How close pictures look to their references: ST-LPIPS and LPIPS, two metrics that must not be confused.

ST-LPIPS is Shift-Tolerant LPIPS (Ghildyal and Liu, ECCV 2022), whose package holds all of its trained weights. LPIPS
(Zhang et al., CVPR 2018) is what the paper reports: its package holds the linear heads only, the ImageNet trunk is a
file of torchvision's. An evaluation never downloads it, and without it there is no LPIPS: random weights would give
numbers that look like scores.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from eval.fidelity import check_pictures
from eval.metrics import MetricUnavailable
from eval.trunk import what_is_wrong

ST_LPIPS_SMALLEST = 21  # its reflection padding fails below
LPIPS_SMALLEST = 31  # below, AlexNet's second pooling has nothing left


def st_lpips(images: Tensor, references: Tensor) -> Tensor:
    """ST-LPIPS distance, AlexNet, 0 for identical pictures. (B, 3, H, W) in [0, 1] twice -> (B,)

    The network wants [-1, 1], its ``normalize`` makes that of [0, 1]. Pictures are taken at their own size; the
    judgements it was trained on (BAPPS) are of 64 x 64 patches, the size of the embedded models' pictures.

    Raises:
        ValueError: not two equal batches of float pictures in [0, 1], or pictures smaller than 21 pixels.
    """
    check_pictures(images, references, smallest=ST_LPIPS_SMALLEST)
    with torch.inference_mode():
        return _st_lpips_network(images.device)(images, references, normalize=True).flatten()


def lpips(images: Tensor, references: Tensor) -> Tensor:
    """LPIPS distance, AlexNet, version 0.1, 0 for identical pictures. (B, 3, H, W) in [0, 1] twice -> (B,)

    Raises:
        ValueError: not two equal batches of float pictures in [0, 1], or pictures smaller than 31 pixels.
        MetricUnavailable: the weights of the trunk are not there.
    """
    check_pictures(images, references, smallest=LPIPS_SMALLEST)
    with torch.inference_mode():
        return _lpips_network(images.device)(images, references, normalize=True).flatten()


@lru_cache(maxsize=2)
def _st_lpips_network(device: torch.device) -> nn.Module:
    from stlpips_pytorch.stlpips import LPIPS  # takes seconds to import

    return LPIPS(net="alex", variant="shift_tolerant", verbose=False).to(device)


@lru_cache(maxsize=2)
def _lpips_network(device: torch.device) -> nn.Module:
    if reason := what_is_wrong():
        raise MetricUnavailable(reason)
    from lpips import LPIPS

    return LPIPS(net="alex", verbose=False).to(device)

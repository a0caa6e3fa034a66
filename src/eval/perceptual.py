"""How close pictures look to their references: ST-LPIPS and LPIPS, two metrics that must not be confused.

ST-LPIPS is Shift-Tolerant LPIPS (Ghildyal and Liu, ECCV 2022), whose package holds all of its trained weights. LPIPS
(Zhang et al., CVPR 2018) is what the paper reports: its package holds the linear heads only, the ImageNet trunk is a
file of torchvision's. Without it there is no LPIPS: random weights would give numbers that look like scores.
"""

import warnings
from functools import lru_cache

import torch
from torch import Tensor, nn

from eval.fidelity import check_pictures
from eval.metric import MetricUnavailable
from eval.weights import TRUNKS, what_is_missing

ST_LPIPS_SMALLEST = {"alex": 21, "vgg": 18}  # its reflection padding fails below
LPIPS_SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}  # below, the last pooling has nothing left


def st_lpips(images: Tensor, references: Tensor, net: str = "alex") -> Tensor:
    """ST-LPIPS distance, 0 for identical pictures. (B, 3, H, W) in [0, 1] twice -> (B,)

    The network wants [-1, 1], its ``normalize`` makes that of [0, 1]. Pictures are taken at their own size; the
    judgements it was trained on (BAPPS) are of 64 x 64 patches, the size of the embedded models' pictures.

    Raises:
        ValueError: not two equal batches of float pictures in [0, 1], or pictures too small for the network.
    """
    check_pictures(images, references, smallest=ST_LPIPS_SMALLEST[net])
    with torch.inference_mode():
        return _st_lpips_network(net, images.device)(images, references, normalize=True).flatten()


def lpips(images: Tensor, references: Tensor, net: str = "alex") -> Tensor:
    """LPIPS distance, version 0.1, 0 for identical pictures. (B, 3, H, W) in [0, 1] twice -> (B,)

    Raises:
        ValueError: not two equal batches of float pictures in [0, 1], or pictures too small for the network.
        MetricUnavailable: the weights of the trunk are not there.
    """
    check_pictures(images, references, smallest=LPIPS_SMALLEST[net])
    with torch.inference_mode():
        return _lpips_network(net, images.device)(images, references, normalize=True).flatten()


@lru_cache(maxsize=2)
def _st_lpips_network(net: str, device: torch.device) -> nn.Module:
    from stlpips_pytorch.stlpips import LPIPS  # takes seconds to import

    return LPIPS(net=net, variant="shift_tolerant", verbose=False).to(device)


@lru_cache(maxsize=2)
def _lpips_network(net: str, device: torch.device) -> nn.Module:
    if reason := what_is_missing("LPIPS", [TRUNKS[net]]):
        raise MetricUnavailable(reason)
    from lpips import LPIPS

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # it asks torchvision in an old way
        return LPIPS(net=net, verbose=False).to(device)

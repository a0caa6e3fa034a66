"""How close pictures look to their references: ST-LPIPS and LPIPS, two metrics that must not be confused.

ST-LPIPS is Shift-Tolerant LPIPS (Ghildyal and Liu, ECCV 2022), whose package holds all of its trained weights. LPIPS
(Zhang et al., CVPR 2018) is what the paper reports: its package holds the linear heads only, the ImageNet trunk is a
file of torchvision's. An evaluation never downloads it, and without it there is no LPIPS: random weights would give
numbers that look like scores.
"""

import hashlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from eval.fidelity import check_pictures

ST_LPIPS_SMALLEST = 21  # its reflection padding fails below
LPIPS_SMALLEST = 31  # below, AlexNet's second pooling has nothing left


class MetricUnavailable(RuntimeError):
    """A metric cannot be computed here; the message says what is missing and how to get it."""


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


def st_lpips_scorer() -> str:
    return f"stlpips_pytorch {version('stlpips_pytorch')} LPIPS, net alex, variant shift_tolerant"


def lpips_scorer() -> str:
    return f"lpips {version('lpips')} LPIPS, net alex, version 0.1, trunk {_trunk_file().name}"


@lru_cache(maxsize=2)
def _st_lpips_network(device: torch.device) -> nn.Module:
    from stlpips_pytorch.stlpips import LPIPS  # takes seconds to import

    return LPIPS(net="alex", variant="shift_tolerant", verbose=False).to(device)


@lru_cache(maxsize=2)
def _lpips_network(device: torch.device) -> nn.Module:
    _check_trunk(_trunk_file())
    from lpips import LPIPS

    return LPIPS(net="alex", verbose=False).to(device)


def _trunk_file() -> Path:
    """Where torchvision looks for AlexNet before it downloads it."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(_trunk_url()).name


def _trunk_url() -> str:
    from torchvision.models import AlexNet_Weights  # takes seconds to import

    return str(AlexNet_Weights.IMAGENET1K_V1.url)


def _check_trunk(path: Path) -> None:
    """Raise MetricUnavailable unless the file is there and complete: its name ends in the start of its hash.

    The message names no folder of this machine: it goes into metrics.json, which is published.
    """
    remedy = (
        f"download {_trunk_url()} (233 MB) and put it into torch's hub folder, "
        "$TORCH_HOME/hub/checkpoints, by default ~/.cache/torch/hub/checkpoints"
    )
    if not path.is_file():
        raise MetricUnavailable(f"backbone weights {path.name} are not in torch's hub folder: {remedy}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(path.stem.rsplit("-", 1)[-1]):
        raise MetricUnavailable(f"backbone weights {path.name} are damaged, their sha256 begins {found[:8]}: {remedy}")

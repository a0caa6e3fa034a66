"""The ImageNet trunk of LPIPS: a file of torchvision's, which an evaluation never downloads."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

NAME = "alexnet-owt-7be5be79.pth"  # ends in the start of its SHA-256
ADDRESS = f"https://download.pytorch.org/models/{NAME}"
REMEDY = (
    f"download {ADDRESS} (233 MB) and put it into torch's hub folder, $TORCH_HOME/hub/checkpoints, by default "
    "~/.cache/torch/hub/checkpoints"
)


def trunk_file() -> Path:
    """Where torch's hub looks for it."""
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(caches, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints" / NAME


def what_is_wrong() -> str:
    """Why LPIPS cannot be computed here, or "" if the file is there and whole.

    The reason names no folder of this machine: it goes into metrics.json, which is published.
    """
    path = trunk_file()
    if not path.is_file():
        return f"backbone weights {NAME} are not in torch's hub folder: {REMEDY}"
    found = _sha256(path, path.stat().st_mtime_ns)
    if not found.startswith(path.stem.rsplit("-", 1)[-1]):
        return f"backbone weights {NAME} are damaged, their sha256 begins {found[:8]}: {REMEDY}"
    return ""


@lru_cache(maxsize=1)
def _sha256(path: Path, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Whether a model's weights are here, and what tells them from others; without loading them."""

import hashlib
from functools import lru_cache
from pathlib import Path

from meancache.config import ModelConfig

PIECES, PIECE = 64, 2**14  # of every file, bytes each


def weights_fingerprint(folder: str | Path) -> str:
    """Identity of a local model folder, wherever it lies. A hub id stands for itself.

    Hashes names, sizes and 64 pieces of every file, spread evenly: seconds for tens of gigabytes, and other weights
    differ nearly everywhere. Files that did not change since are not read again by this process.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        return str(folder)
    paths = sorted(p for p in root.rglob("*") if p.is_file() and p.suffix not in (".md", ".png"))
    return _fingerprint(root, tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths))


@lru_cache
def _fingerprint(root: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{path.relative_to(root)} {size}\n".encode())
        with path.open("rb") as file:
            for piece in range(PIECES):
                file.seek(piece * size // PIECES)
                digest.update(file.read(PIECE))
    return digest.hexdigest()[:16]


def check_weights(model: ModelConfig) -> None:
    """Raise ValueError, saying how to get them, if the weights are neither here nor may be fetched."""
    folder = Path(model.path)
    if folder.is_dir():
        if not (folder / "model_index.json").exists():
            raise ValueError(f"{model.path} is no diffusers model folder: it has no model_index.json. {model.weights}")
    elif not model.download and not _in_hub_cache(model.path, "model_index.json", model.revision):
        raise ValueError(f"the weights {model.path!r} are neither a folder here nor in the hub cache. {model.weights}")
    denoiser = model.transformer
    if denoiser and not Path(denoiser).is_dir() and not model.download and not _in_hub_cache(denoiser, "config.json"):
        raise ValueError(f"the denoiser {denoiser!r} is neither a folder here nor in the hub cache. {model.weights}")


def _in_hub_cache(repository: str, file: str, revision: str | None = None) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(repository, file, revision=revision), str)
    except HFValidationError:  # not even the form of a hub id
        return False

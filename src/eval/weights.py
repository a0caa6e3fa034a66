"""Weights that scorers need and that are no part of any package: what they are, where they come from, where they lie.

Nothing is fetched unless you allow it (``metrics.download=true``, or ``python -m experiments.weights download=...``).
Checksums are those that the publishers state: on the files' pages of the hub, or in the names that torchvision gives.
"""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from meancache.artifacts import locked
from meancache.downloads import fetch, file_checksum, home

HUB = "https://huggingface.co"
WHERE = ": `python -m experiments.weights` lists them"  # ends every sentence on missing weights


def torch_hub() -> Path:
    """Where torch's hub looks for the weights of torchvision."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or os.path.join(caches, "torch")).expanduser() / "hub" / "checkpoints"


def vbench_cache() -> Path:
    """Where VBench looks for weights."""
    return Path(os.environ.get("VBENCH_CACHE_DIR") or "~/.cache/vbench").expanduser()


SHELVES: dict[str, Callable[[], Path]] = {
    "meancache": lambda: home() / "weights",
    "torch": torch_hub,
    "vbench": vbench_cache,
}


@dataclass(frozen=True)
class WeightFile:
    """A file of weights, or of what belongs to them.

    Attributes:
        name: its name on this machine.
        address: where it lies in public.
        size_mb: millions of bytes; 0 where we do not know.
        sha256: its checksum, or the beginning of it where no more is published; "" where nothing is.
        licence: what its publisher says.
        use: which setting asks for it; "" where there is no choice.
        shelf: one of SHELVES, the folder it lies in.
    """

    name: str
    address: str
    size_mb: float
    sha256: str = ""
    licence: str = "not stated"
    use: str = ""
    shelf: str = "meancache"

    @property
    def target(self) -> Path:
        """Where to put it."""
        return SHELVES[self.shelf]() / self.name

    @property
    def on_hub(self) -> tuple[str, str, str] | None:
        """Repository, revision and name on the hub, of a file that lies there and that we read ourselves."""
        if self.shelf == "vbench":
            return None
        found = re.fullmatch(rf"{HUB}/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.address)
        return (found[1], found[2], found[3]) if found else None

    @property
    def size(self) -> str:
        """Its size for a reader."""
        if not self.size_mb:
            return "size not known"
        digits, unit = (1, "GB") if self.size_mb >= 1000 else (int(self.size_mb < 10), "MB")
        return f"{self.size_mb / (1000 if unit == 'GB' else 1):.{digits}f} {unit}"

    def find(self) -> Path | None:
        """The file on this machine: where it belongs, or in the hub's own cache."""
        if self.target.is_file():
            return self.target
        if self.on_hub is None:
            return None
        from huggingface_hub import try_to_load_from_cache

        repository, revision, name = self.on_hub
        found = try_to_load_from_cache(repository, name, revision=revision)
        return Path(found) if isinstance(found, str) else None

    def what_is_wrong(self) -> str:
        """Why it cannot be used, or "" if it is there and whole. Names no folder, since results are published."""
        path = self.find()
        if path is None:
            return f"{self.name} ({self.size})"
        found = file_checksum(path)
        if not found.startswith(self.sha256):
            return f"an undamaged {self.name} ({self.size}), whose SHA-256 begins {self.sha256[:8]}, not {found[:8]}"
        return ""

    def provenance(self) -> str:
        """Its name and the beginning of its SHA-256, with which scores are kept when the file is gone."""
        path = self.find()
        digest = self.sha256 or (file_checksum(path) if path else "unknown")
        return f"{self.name} sha256 {digest[:16]}"

    def fetch(self) -> None:
        """Put it where it belongs.

        Raises:
            ValueError: it cannot be fetched, or holds other bytes than it should; or it lies in an archive.
        """
        if self.address.endswith(".zip") and not self.name.endswith(".zip"):
            raise ValueError(f"{self.name} lies in an archive: fetch {self.address}, and put it at {self.target}")
        fetch(self.address, self.target, self.sha256)


def what_is_missing(scorer: str, files: Iterable[WeightFile]) -> str:
    """What a scorer cannot do without, in one line; "" if all is there and whole."""
    wrong = [reason for file in files if (reason := file.what_is_wrong())]
    return f"{scorer} needs {' and '.join(wrong)}{WHERE}" if wrong else ""


def fetch_missing(files: Iterable[WeightFile]) -> None:
    """Fetch those that are not there, or not whole; of jobs that run at once, one does.

    Raises:
        ValueError: one cannot be fetched, or holds other bytes than it should.
    """
    for file in files:
        if file.what_is_wrong():
            with locked(file.target.parent, file.name):
                if file.what_is_wrong():
                    file.fetch()


def _trunk(net: str, name: str, size_mb: float) -> WeightFile:
    """ImageNet weights of torchvision; its names end in the start of their SHA-256."""
    digest = name.removesuffix(".pth").rsplit("-", 1)[-1]
    licence = "not stated (torchvision's code: BSD-3-Clause)"
    return WeightFile(
        name, f"https://download.pytorch.org/models/{name}", size_mb, digest, licence, f"net={net}", "torch"
    )


def _clip(architecture: str, pretrained: str, repository: str, size_mb: float, sha256: str) -> WeightFile:
    """Weights of LAION, as open_clip names them."""
    address = f"{HUB}/laion/{repository}/resolve/main/open_clip_pytorch_model.bin"
    use = f"architecture={architecture} pretrained={pretrained}"
    return WeightFile(f"{repository}.bin", address, size_mb, sha256, "MIT", use)


TRUNKS = {
    "alex": _trunk("alex", "alexnet-owt-7be5be79.pth", 233),
    "vgg": _trunk("vgg", "vgg16-397923af.pth", 528),
    "squeeze": _trunk("squeeze", "squeezenet1_1-b8a52dc0.pth", 4.7),
}
BIG_G = "0d5318839ad03607c48055c45897c655a14c0276a79f6b867934ddd073760e39"
SMALL_G_34B = "9ef136f407986fb607cd37a823eba38a3b6f95e8ec702b3d1687252985d84750"
SMALL_G_12B = "6aac683f899159946bc4ca15228bb7016f3cbb1a2c51f365cba0b23923f344da"
CLIP = {
    ("ViT-bigG-14", "laion2b_s39b_b160k"): _clip(
        "ViT-bigG-14", "laion2b_s39b_b160k", "CLIP-ViT-bigG-14-laion2B-39B-b160k", 10200, BIG_G
    ),
    ("ViT-g-14", "laion2b_s34b_b88k"): _clip(
        "ViT-g-14", "laion2b_s34b_b88k", "CLIP-ViT-g-14-laion2B-s34B-b88K", 5470, SMALL_G_34B
    ),
    ("ViT-g-14", "laion2b_s12b_b42k"): _clip(
        "ViT-g-14", "laion2b_s12b_b42k", "CLIP-ViT-g-14-laion2B-s12B-b42K", 5470, SMALL_G_12B
    ),
}
IMAGE_REWARD = WeightFile(
    "ImageReward.pt",
    f"{HUB}/THUDM/ImageReward/resolve/main/ImageReward.pt",
    1790,
    "d71dc8d4912bc633c06ab8ef1ef6a81e8199d4369f14b47b29baf1d19de561f6",
    "Apache-2.0",
)
BERT_VOCABULARY = WeightFile(
    "bert-base-uncased-vocab.txt",
    f"{HUB}/google-bert/bert-base-uncased/resolve/86b5e0934494bd15c9632b12f734a8a67f723594/vocab.txt",
    0.2,
    "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "Apache-2.0",
)

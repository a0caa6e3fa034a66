"""The entries of the zoo: tiny random pipelines of diffusers' flow-matching classes, and what each should do.

An entry is a function that makes a pipeline and the arguments of its call. Weights are random, prompts are embeddings,
and the output is latents, so that an entry runs in a fraction of a second.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from PIL import Image
from torch import Tensor, nn

Made = tuple[Any, dict[str, Any]]  # a pipeline and the arguments of its call
NUM_STEPS = 6


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        name: of the row: the pipeline's class, and what is special about this entry after a comma.
        family: the group of the table it belongs to.
        make: gives the pipeline and its call's arguments.
        num_steps: solver steps of a run without img2img's strength.
        refused: pattern of the reason why this pipeline cannot be accelerated; empty where it can.
        calls_before: denoiser calls until the refusal, at most; more than 0 only for what shows in mid-run.
        displacement: what rule ``release`` forms displacements of: "latents", bit for bit as released, or
            "velocities", where a step's move is not sigma times velocity.
        tolerance: largest deviation from the replay, relative to the largest latent; 0 is bit for bit.
        note: for the reader of the table.
    """

    name: str
    family: str
    make: Callable[[], Made]
    num_steps: int = NUM_STEPS
    refused: str = ""
    calls_before: int = 0
    displacement: str = "latents"
    tolerance: float = 0.0
    note: str = ""


ENTRIES: dict[str, Entry] = {}


def entry(family: str, name: str, **settings: Any) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    """Register a function as an entry; ``settings`` are attributes of `Entry`."""

    def register(make: Callable[[], Made]) -> Callable[[], Made]:
        assert name not in ENTRIES, f"two entries are called {name!r}"
        ENTRIES[name] = Entry(name, family, make, **settings)
        return make

    return register


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def picture(size: int = 32, seed: int = 0) -> Tensor:
    """An image as pipelines take it, values in [0, 1]. (1, 3, size, size)"""
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def photo(size: int = 32) -> Image.Image:
    """An image for pipelines that take no tensors."""
    return Image.fromarray((picture(size)[0].permute(1, 2, 0) * 255).byte().numpy())


def half_mask(size: int = 32) -> Tensor:
    """A mask whose right half is to be painted. (1, 1, size, size)"""
    mask = torch.zeros(1, 1, size, size)
    mask[..., size // 2 :] = 1.0
    return mask


def euler(**settings: Any) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(**settings)


def image_vae(latent_channels: int, levels: int = 1) -> AutoencoderKL:
    """A VAE for images that shrinks by 2 to the power ``levels - 1``."""
    return AutoencoderKL(
        block_out_channels=(4,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=latent_channels,
        norm_num_groups=1,
        sample_size=32,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.06,
        scaling_factor=1.5,
    )


def nothing(*names: str) -> dict[str, None]:
    """Components that a run with embeddings does without."""
    return dict.fromkeys(names)


class StandIn(nn.Module):
    """In place of a component of which a pipeline reads settings only."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(**settings)
        self.dtype, self.device = torch.float32, torch.device("cpu")


class PoolingVae(StandIn):
    """Encodes by averaging pixels: for pipelines that scale every picture up to a million pixels."""

    def __init__(self, z_dim: int, downsamplings: int = 6) -> None:
        super().__init__(z_dim=z_dim, latents_mean=[0.0] * z_dim, latents_std=[1.0] * z_dim)
        self.z_dim = z_dim
        self.temperal_downsample = [True] * downsamplings

    def encode(self, pictures: Tensor) -> Any:
        size = 2 ** len(self.temperal_downsample)
        pooled = nn.functional.avg_pool3d(pictures, (1, size, size))
        return SimpleNamespace(latents=pooled[:, [channel % pooled.shape[1] for channel in range(self.z_dim)]])

    def decode(self, latents: Tensor, return_dict: bool = False) -> tuple[Tensor]:
        """The latents as a picture, small enough not to be clamped."""
        return (latents[:, :3] / 100,)

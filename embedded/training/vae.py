"""Train the autoencoder on drawn pictures, measure its latents' scale, and cache the latents of the training set."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from embedded.families.family import Family
from embedded.families.registry import family
from embedded.training.loop import Fit, Trainer, barrier, save_atomically, world
from embedded.training.options import TinyConfig
from embedded.training.pictures import load_pictures, to_tensor, unseen_pictures

ENCODE_BATCH = 50
STILLS = 4  # times as many single frames as videos in a batch
PIECES = 2  # times as many moving pieces as videos in a batch
MOVED = 48  # summed over colours of 0 to 255
LATENT_NOISE = 0.03  # generated latents are never exact
COLOUR_GAIN = 2.0  # gives the colour channels a standard deviation of about one


def vae_trainer(config: TinyConfig) -> Trainer:
    """The autoencoder's stage, resumed where it was left."""
    torch.manual_seed(config.seed)
    vae = family(config).build_vae(config)
    return Trainer(vae, _fit(config, "vae", config.vae_lr), config.folder, config.device)


def decoder_trainer(config: TinyConfig) -> Trainer:
    """The decoder's stage: it starts from the averaged autoencoder, whose encoder stays as it is."""
    trainer = vae_trainer(config)
    trainer.copy_average()
    trainer.module.encoder.requires_grad_(False)
    return Trainer(trainer.module, _fit(config, "decoder", config.decoder_lr), config.folder, config.device)


def _fit(config: TinyConfig, name: str, lr: float) -> Fit:
    return Fit(
        name=name,
        minutes=getattr(config, f"{name}_minutes"),
        steps=getattr(config, f"{name}_steps"),
        lr=lr,
        seed=config.seed,
        ema=0.995,
        checkpoint_minutes=config.checkpoint_minutes,
    )


def vae_loss(kind: Family, vae: Any, pictures: Tensor, kl_weight: float, generator: torch.Generator) -> Tensor:
    """L1 + MSE + KL of pictures or videos (B, 3, [T,] H, W) in [-1, 1].

    The first three latent channels are pulled to the mean colour of the patch under them: colours are then right early
    on, and a latent that holds a small picture is easy for the flow model to learn. A latent frame of a video reads
    the colours of the last of its frames.
    """
    mean, log_variance = kind.moments(vae, pictures).chunk(2, dim=1)
    log_variance = log_variance.clamp(-30, 20)
    noise = torch.randn(mean.shape, generator=generator).to(mean)
    decoded = kind.decode(vae, mean + (0.5 * log_variance).exp() * noise)
    error = decoded - pictures
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).flatten(1).sum(1).mean()
    if mean.dim() == 5 and mean.shape[2] > 1:
        pictures = pictures[:, :, :: (pictures.shape[2] - 1) // (mean.shape[2] - 1)]
    patches = functional.interpolate(pictures, mean.shape[2:], mode="area")
    colour = (mean[:, :3] - COLOUR_GAIN * patches).square().mean()
    return error.abs().mean() + 2 * (error**2).mean() + kl_weight * kl + 0.3 * colour


def train_vae(config: TinyConfig) -> None:
    """Train to the end of the budget; of videos first single frames, then pieces that move, last whole ones."""
    trainer, pictures = vae_trainer(config), load_pictures(config)
    share = config.vae_batch // world()[1]

    def batch(generator: torch.Generator) -> np.ndarray:
        if config.is_video and trainer.progress < config.vae_stills:
            return _single_frames(pictures, share * STILLS, generator)
        if config.is_video and trainer.progress < config.vae_stills + config.vae_pieces:
            rows = torch.randint(len(pictures), (share * PIECES,), generator=generator).numpy()
            return _moving_pieces(pictures[rows], generator)[0]
        return pictures[torch.randint(len(pictures), (share,), generator=generator).numpy()]

    def loss_of(generator: torch.Generator) -> Tensor:
        videos = to_tensor(batch(generator)).to(config.device)
        return vae_loss(family(config), trainer.module, videos, config.vae_kl, generator)

    trainer.run(loss_of)


def _single_frames(videos: np.ndarray, count: int, generator: torch.Generator) -> np.ndarray:
    """Random frames of random videos (N, T, H, W, 3), as videos of one frame (count, 1, H, W, 3)."""
    rows = torch.randint(len(videos), (count,), generator=generator).numpy()
    frames = torch.randint(videos.shape[1], (count,), generator=generator).numpy()
    return np.stack([videos[row, frame : frame + 1] for row, frame in zip(rows, frames, strict=True)])


def _moving_pieces(
    videos: np.ndarray, generator: torch.Generator, cell: int = 1
) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """A square of half the width of each video (B, T, H, W, 3), where something moves: most of a video stands still.

    Returns:
        The squares, and top, left and size of each in cells of so many pixels.
    """
    squares = [_moving_square(video, generator, cell) for video in videos]
    pieces = [
        video[:, cell * top : cell * (top + size), cell * left : cell * (left + size)]
        for video, (top, left, size) in zip(videos, squares, strict=True)
    ]
    return np.stack(pieces), squares


def _moving_square(video: np.ndarray, generator: torch.Generator, cell: int) -> tuple[int, int, int]:
    """Top, left and size of a square around a random pixel that changes, in cells of so many pixels."""
    change = np.abs(video[-1].astype(np.int16) - video[0]).sum(-1)
    weights = torch.from_numpy(change > MOVED).flatten().float() + 1e-6
    pixel = int(torch.multinomial(weights, 1, generator=generator))
    size, end = video.shape[1] // cell // 2, video.shape[1] // cell
    top, left = (min(max(at // cell - size // 2, 0), end - size) for at in divmod(pixel, video.shape[2]))
    return top, left, size


def train_decoder(config: TinyConfig) -> None:
    """Polish the decoder on the cached latents: the flow model's world stays as it is, its pictures get sharper."""
    trainer, pictures = decoder_trainer(config), load_pictures(config)
    cache = torch.load(latents_file(config), weights_only=True)
    share = config.vae_batch // world()[1]

    def batch(generator: torch.Generator) -> tuple[np.ndarray, Tensor]:
        if config.is_video and trainer.progress < config.vae_pieces:
            rows = torch.randint(len(pictures), (share * PIECES,), generator=generator).numpy()
            return _moving_pairs(pictures[rows], cache["latents"][rows], generator)
        rows = torch.randint(len(pictures), (share,), generator=generator).numpy()
        return pictures[rows], cache["latents"][rows]

    def loss_of(generator: torch.Generator) -> Tensor:
        wanted, latents = batch(generator)
        latents = latents.float() / cache["scaling_factor"] + cache["shift_factor"]
        latents = latents + LATENT_NOISE * torch.randn(latents.shape, generator=generator)
        decoded = family(config).decode(trainer.module, latents.to(config.device))
        error = decoded - to_tensor(wanted).to(config.device)
        return error.abs().mean() + 2 * (error**2).mean()

    trainer.run(loss_of)


def _moving_pairs(videos: np.ndarray, latents: Tensor, generator: torch.Generator) -> tuple[np.ndarray, Tensor]:
    """Moving pieces of videos, and the same pieces of their latents (B, C, t, h, w)."""
    pieces, squares = _moving_pieces(videos, generator, videos.shape[2] // latents.shape[-1])
    codes = [
        code[..., top : top + size, left : left + size]
        for code, (top, left, size) in zip(latents, squares, strict=True)
    ]
    return pieces, torch.stack(codes)


def load_vae(config: TinyConfig) -> Any:
    """The trained autoencoder, frozen, with averaged weights; scale and shift are set once latents are cached.

    Raises:
        ValueError: It was not trained yet.
    """
    trainer = vae_trainer(config)
    if trainer.step == 0:
        raise ValueError(f"no trained vae in {config.folder}: run stage=vae first")
    trainer.copy_average()
    polished = decoder_trainer(config)
    if polished.step > 0:
        polished.copy_average()
        trainer = polished
    vae = trainer.module.eval().requires_grad_(False)
    if latents_file(config).exists():
        scales = torch.load(latents_file(config), weights_only=True, mmap=True)
        family(config).set_scale(vae, scales["shift_factor"], scales["scaling_factor"])
    return vae


def latents_file(config: TinyConfig) -> Path:
    """Where cached latents and their scale lie."""
    return config.folder / "latents.pt"


@torch.no_grad()
def cache_latents(config: TinyConfig) -> None:
    """Encode the training pictures (posterior mean) and measure scale and shift; every process its share."""
    if latents_file(config).exists():
        return
    rank, size = world()
    vae, pictures = load_vae(config), load_pictures(config)
    latents = []
    for start in range(rank * ENCODE_BATCH, len(pictures), size * ENCODE_BATCH):
        batch = to_tensor(pictures[start : start + ENCODE_BATCH]).to(config.device)
        latents.append(family(config).moments(vae, batch).chunk(2, dim=1)[0].cpu())
    part = config.folder / f"latents-{rank}.part"
    torch.save(latents, part)
    barrier()
    if rank == 0:
        parts = [torch.load(config.folder / f"latents-{k}.part", weights_only=True) for k in range(size)]
        count = sum(len(chunks) for chunks in parts)
        everything = torch.cat([parts[k % size][k // size] for k in range(count)])
        shift, factor = family(config).latent_scale(everything)
        normal = ((everything - shift) * factor).half()
        save_atomically({"latents": normal, "shift_factor": shift, "scaling_factor": factor}, latents_file(config))
    barrier()
    part.unlink()


@torch.no_grad()
def reconstruction_psnr(config: TinyConfig, vae: Any, count: int = 200) -> float:
    """Mean PSNR in dB of posterior-mean reconstructions of pictures of new scenes, held-out pairs included."""
    kind = family(config)
    _, pictures = unseen_pictures(config, count)
    latents = [kind.moments(vae, part).chunk(2, dim=1)[0] for part in pictures.split(ENCODE_BATCH)]
    decoded = torch.cat([kind.decode(vae, part) for part in latents])
    error = ((decoded.clamp(-1, 1) - pictures) / 2).pow(2).flatten(1).mean(1)
    return (-10 * error.log10()).mean().item()

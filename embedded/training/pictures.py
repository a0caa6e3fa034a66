"""The training set: scenes, their pictures drawn once to disk, and their captions drawn anew whenever asked."""

import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from embedded.training.loop import barrier, world
from embedded.training.options import TinyConfig
from embedded.world.scenes import sample_scene
from eval.scene.draw import SIZE, draw, draw_videos
from eval.scene.world import Scene

CHUNK = 200
UNSEEN_SEED = 10_000_019  # far from every training seed


def training_scenes(config: TinyConfig) -> list[Scene]:
    """The scenes of the training set; none holds a held-out pair."""
    rng = random.Random(config.seed)
    return [sample_scene(rng, moving=config.is_video) for _ in range(config.num_scenes)]


def unseen_pictures(config: TinyConfig, count: int, held_out: bool = True) -> tuple[list[Scene], Tensor]:
    """Scenes no model was trained on, with their pictures or videos (count, 3, [T,] H, W) in [-1, 1]."""
    rng = random.Random(UNSEEN_SEED)
    scenes = [sample_scene(rng, held_out=held_out, moving=config.is_video) for _ in range(count)]
    return scenes, _drawn(config, scenes, UNSEEN_SEED)


def _drawn(config: TinyConfig, scenes: list[Scene], seed: int) -> Tensor:
    """The pictures or videos (B, 3, [T,] H, W) of scenes."""
    scale = config.picture_size // SIZE
    if config.is_video:
        return draw_videos(scenes, seed, config.num_frames, scale)
    return draw(scenes, torch.Generator().manual_seed(seed), scale)


def picture_file(config: TinyConfig) -> Path:
    """Where the training pictures or videos lie, uint8 (N, [T,] H, W, 3)."""
    return config.folder / "pictures.npy"


def draw_pictures(config: TinyConfig) -> None:
    """Draw the training pictures to disk, every process its share of the chunks."""
    rank, size = world()
    path = picture_file(config)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    frames = (config.num_frames,) if config.is_video else ()
    shape = (config.num_scenes, *frames, config.picture_size, config.picture_size, 3)
    if rank == 0:
        np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    barrier()
    store = np.lib.format.open_memmap(partial, mode="r+")
    scenes = training_scenes(config)
    for start in range(rank * CHUNK, len(scenes), size * CHUNK):
        pictures = _drawn(config, scenes[start : start + CHUNK], config.seed * 1_000_003 + start)
        store[start : start + CHUNK] = ((pictures + 1) * 127.5).round().byte().movedim(1, -1).numpy()
    store.flush()
    barrier()
    if rank == 0:
        partial.rename(path)
    barrier()


def load_pictures(config: TinyConfig) -> np.ndarray:
    """Training pictures or videos, memory-mapped, uint8 (N, [T,] H, W, 3)."""
    return np.load(picture_file(config), mmap_mode="r")


def to_tensor(pictures: np.ndarray) -> Tensor:
    """uint8 (B, [T,] H, W, 3) to float (B, 3, [T,] H, W) in [-1, 1], channels last in memory."""
    return torch.from_numpy(np.array(pictures)).movedim(-1, 1).float() / 127.5 - 1

"""The embedded models' scores `prompt_match`, `scene_clip_score`, `scene_reward`; their networks ship with the project.

Of a video, a score is the mean over its frames; the checker looks at the middle one, where everything stands in its
cell, and at what changes from the first to the last.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from eval.metric import Batch
from eval.scene.checker import load_checker, look
from eval.scene.clip import load_clip
from eval.scene.judge import is_right, seen_motion
from eval.scene.prompts import read_prompt
from eval.scene.reward import load_reward

FRAMES_AT_ONCE = 64


def prompt_match(batch: Batch) -> Tensor:
    """1 where a picture or video shows exactly what its prompt asks for, else 0. (B,)

    Compared are shapes, colours, places and counts; in videos the motion too.

    Raises:
        ValueError: a prompt is no caption of the embedded models' world.
    """
    asked = [read_prompt(prompt) for prompt in batch.prompts]
    samples = batch.images * 2 - 1
    is_video = samples.dim() == 5
    found = look(load_checker(str(samples.device)), samples[:, samples.shape[1] // 2] if is_video else samples)
    right = [is_right(entry, seen) for entry, seen in zip(asked, found, strict=True)]
    if is_video:
        moves = [seen_motion(entry, video.transpose(0, 1).cpu()) for entry, video in zip(asked, samples, strict=True)]
        right = [hit and entry["motion"] == move for hit, entry, move in zip(right, asked, moves, strict=True)]
    return torch.tensor(right, dtype=torch.float32)


def scene_clip_score(batch: Batch) -> Tensor:
    """100 x cosine of picture and prompt. (B,)"""
    return _mean_over_frames(batch, lambda pictures, seen, read: 100 * (seen * read).sum(dim=-1))


def scene_reward(batch: Batch) -> Tensor:
    """How much a picture with its prompt is liked, 0 as much as a drawn scene with its caption on average. (B,)"""
    return _mean_over_frames(batch, load_reward(str(batch.images.device)))


def release() -> None:
    """Let go of the networks."""
    for load in (load_checker, load_clip, load_reward):
        load.cache_clear()


def _mean_over_frames(batch: Batch, rate: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """The mean rating of a sample's frames, whose arguments are pictures in [-1, 1] and the CLIP's vectors. (B,)"""
    clip = load_clip(str(batch.images.device))
    frames = batch.images.flatten(0, -4) * 2 - 1
    per_sample = len(frames) // len(batch.prompts)
    read = clip.of_texts(batch.prompts).repeat_interleave(per_sample, dim=0)
    parts = zip(frames.split(FRAMES_AT_ONCE), read.split(FRAMES_AT_ONCE), strict=True)
    ratings = [rate(pictures, clip.of_pictures(pictures), words) for pictures, words in parts]
    return torch.cat(ratings).view(-1, per_sample).mean(dim=1).cpu()

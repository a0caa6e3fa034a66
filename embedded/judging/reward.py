"""Train the scene reward's head on the frozen scene CLIP, with the pairwise logistic loss, as ImageReward is.

In every pair a drawn scene with its caption stands against one that is worse in one way: noise, blur, wrong colours or
wrong words, often against one that is a little worse already. Both are moved by up to two pixels, which says nothing.
"""

import random
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedded.judging.checker import trainer_of
from embedded.judging.damage import JITTER, STRENGTHS, Sample, damaged, fresh_sample, shifted
from embedded.judging.options import ScorerOptions
from eval.scene.clip import SceneClip
from eval.scene.reward import Reward

REWARD_SEED = 40_000_003
SCENES_A_KIND = 12  # of a batch
SAMPLES = 50  # of as many scenes, drawn once

Told = tuple[Tensor, tuple[str, ...]]  # pictures and their captions


@dataclass(frozen=True)
class Pair:
    """B pairs of pictures (B, 3, 64, 64) with captions, the better one first."""

    better: Told
    worse: Told


def rate(reward: nn.Module, clip: SceneClip, pictures: Tensor, texts: tuple[str, ...]) -> Tensor:
    """Rewards (B,) of pictures with their captions."""
    return reward(pictures, clip.of_pictures(pictures), clip.of_texts(texts))


def train_reward(options: ScorerOptions, clip: SceneClip) -> Reward:
    """Train (or resume, or load) the head, then standardise it over held-out scenes."""
    torch.manual_seed(options.seed + 1)
    features = clip.of_texts(["a red star"]).shape[-1]
    trainer = trainer_of(Reward(features), "reward", 1e-3, options)
    clip.network.to(options.device)
    if trainer.progress < 1:
        samples = [fresh_sample(SCENES_A_KIND * len(STRENGTHS), REWARD_SEED + k) for k in range(SAMPLES)]

    def loss_of(generator: torch.Generator) -> Tensor:
        rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
        pair = _pair(samples[rng.randrange(SAMPLES)], rng)
        better, worse = (
            rate(trainer.module, clip, pictures.to(options.device), texts)
            for pictures, texts in (pair.better, pair.worse)
        )
        return -functional.logsigmoid(better - worse).mean()

    trainer.run(loss_of)
    trainer.copy_average()
    reward = trainer.module.eval().requires_grad_(False)
    standardise(reward, clip, fresh_sample(options.measured, REWARD_SEED - 1))
    clip.network.cpu()
    return reward.cpu()


@torch.no_grad()
def standardise(reward: Reward, clip: SceneClip, sample: Sample) -> None:
    """Mean 0 and std 1 over these scenes with their captions."""
    device = next(reward.parameters()).device
    parts = zip(range(0, len(sample.texts), 100), sample.pictures.split(100), strict=True)
    raw = [rate(reward, clip, some.to(device), sample.texts[k : k + len(some)]) for k, some in parts]
    rewards = torch.cat(raw) * reward.std + reward.mean
    reward.mean, reward.std = rewards.mean(), rewards.std()


def _pair(sample: Sample, rng: random.Random) -> Pair:
    """Pairs of every kind, each of scenes of its own."""
    better: list[Told] = []
    worse: list[Told] = []
    for place, kind in enumerate(STRENGTHS):
        part = sample.part(slice(place * SCENES_A_KIND, (place + 1) * SCENES_A_KIND))
        less, more = _two_strengths(kind, rng)
        seed = rng.randrange(2**31)
        for side, strength in ((better, less), (worse, more)):
            pictures, texts = damaged(part, kind, strength, seed)
            reach = max(JITTER)
            side.append((shifted(pictures, rng.randint(-reach, reach), rng.randint(-reach, reach)), texts))
    return Pair(_joined(better), _joined(worse))


def _joined(parts: list[Told]) -> Told:
    return torch.cat([pictures for pictures, _ in parts]), tuple(text for _, texts in parts for text in texts)


def _two_strengths(kind: str, rng: random.Random) -> tuple[float, float]:
    """None and some, or some and more; wrong words by whole numbers."""
    worst = STRENGTHS[kind][-1]
    more = float(rng.randint(1, int(worst))) if kind == "caption" else worst * rng.uniform(0.1, 1)
    if rng.random() < 0.6:
        return 0.0, more
    return (float(rng.randrange(int(more))), more) if kind == "caption" else (more * rng.uniform(0, 0.7), more)

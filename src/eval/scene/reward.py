"""The scene reward: a head on the scene CLIP that prefers the right caption and the clean picture, as ImageReward does.

The CLIP's vectors say whether picture and words belong together; three convolutions of its own see noise and blur.
"""

from functools import cache

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from eval.scene.draw import SIZE
from eval.scene.files import read_config, weight_file

FOLDER = "scene_reward"


class Reward(nn.Module):
    """How much a picture with its caption is liked.

    Args:
        features: Size of the CLIP's vectors.
        width: Of the convolutions' last layer.
        hidden: Width of the head.
    """

    def __init__(self, features: int, width: int = 48, hidden: int = 128) -> None:
        super().__init__()
        self.eye = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 3, 2, 1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Linear(3 * features + width, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.features = features
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def forward(self, pictures: Tensor, seen: Tensor, read: Tensor) -> Tensor:
        """Rewards (B,), mean 0 and std 1 over held-out drawn scenes with their captions.

        Args:
            pictures: (B, 3, H, W) in [-1, 1], looked at in 64x64.
            seen: The CLIP's vectors of the pictures (B, E).
            read: Those of the captions (B, E).
        """
        texture = self.eye(functional.adaptive_avg_pool2d(pictures, SIZE)).mean((-2, -1))
        scale = seen.shape[-1] ** 0.5  # unit vectors are small
        facts = torch.cat([scale * seen, scale * read, scale**2 * seen * read, texture], dim=-1)
        return (self.head(facts)[:, 0] - self.mean) / self.std


@cache
def load_reward(device: str = "cpu") -> Reward:
    """The shipped head, float32, frozen."""
    reward = Reward(**read_config(FOLDER)["model"])
    reward.load_state_dict({name: value.float() for name, value in load_file(weight_file(FOLDER)).items()})
    return reward.to(device).eval().requires_grad_(False)

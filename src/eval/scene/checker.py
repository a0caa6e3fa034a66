"""The checker: a small CNN that names each cell's object, trained on drawn scenes only.

It shares nothing with any generator but the world: no weights, no text encoder. For each of the 3x3 cells it names the
shape (or none), the colour and the fill.
"""

from functools import cache

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from eval.scene.draw import SIZE
from eval.scene.files import read_config, weight_file
from eval.scene.world import COLOURS, FILLS, GRID, SHAPES

FOLDER = "scene_checker"
CELLS = GRID * GRID
NONE = len(SHAPES)
HEADS = {"shape": len(SHAPES) + 1, "colour": len(COLOURS), "fill": len(FILLS)}

Found = dict[int, tuple[str, str, str]]  # cell -> shape, colour, fill


class Checker(nn.Module):
    """Five convolutions down to 8x8, then one classifier that looks at every cell's window of 4x4 with equal eyes."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        plan = [(3, 1, 5, 2), (1, 2, 3, 2), (2, 3, 3, 1), (3, 3, 3, 2), (3, 4, 3, 1)]  # widths, kernel, stride
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride in plan:
            channels = inputs if not layers else inputs * width
            layers.append(nn.Conv2d(channels, outputs * width, kernel, stride, kernel // 2))
            layers += [nn.GroupNorm(8, outputs * width), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.hidden = nn.Sequential(nn.Linear(4 * width * 16, 128), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(128, sum(HEADS.values()))
        self.width = width

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits {"shape": (B, cells, classes), ...} of pictures (B, 3, 64, 64) in [-1, 1]."""
        windows = functional.unfold(self.body(pictures), kernel_size=4, stride=2)  # (B, channels * 16, cells)
        logits = self.head(self.hidden(windows.transpose(1, 2)))
        return dict(zip(HEADS, logits.split(list(HEADS.values()), dim=-1), strict=True))


@cache
def load_checker(device: str = "cpu") -> Checker:
    """The shipped checker, float32, frozen."""
    checker = Checker(**read_config(FOLDER)["model"])
    checker.load_state_dict({name: value.float() for name, value in load_file(weight_file(FOLDER)).items()})
    return checker.to(device).eval().requires_grad_(False)


def middle_frame(pictures: Tensor) -> Tensor:
    """Of videos (B, 3, T, H, W) the frame in which everything stands in its cell; pictures as they are."""
    return pictures[:, :, pictures.shape[2] // 2] if pictures.dim() == 5 else pictures


@torch.no_grad()
def look(checker: Checker, pictures: Tensor) -> list[Found]:
    """What the checker sees: per picture {cell: (shape, colour, fill)} of the cells with an object.

    Args:
        checker: Trained on drawn scenes.
        pictures: (B, 3, H, W) in [-1, 1]; looked at in 64x64.
    """
    pictures = functional.adaptive_avg_pool2d(pictures, SIZE)
    best = {name: logits.argmax(-1) for name, logits in checker(pictures).items()}
    seen = []
    for k in range(len(pictures)):
        shape, colour, fill = (best[name][k].tolist() for name in HEADS)
        full = [cell for cell in range(CELLS) if shape[cell] != NONE]
        seen.append({cell: (SHAPES[shape[cell]], COLOURS[colour[cell]], FILLS[fill[cell]]) for cell in full})
    return seen

"""An independent judge: a small CNN that names each cell's object, trained on drawn scenes only.

It shares nothing with the generator but the world: no weights, no text encoder. For each of the 3x3 cells it names the
shape (or none), the colour and the fill. `judge` compares what it sees with what a prompt asks for.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedded.training.loop import Fit, Trainer
from embedded.training.options import TinyConfig
from embedded.training.pictures import CHUNK, unseen_pictures
from embedded.world.draw import SIZE, draw
from embedded.world.scenes import COLOURS, FILLS, GRID, SHAPES, Scene, sample_scene

CELLS = GRID * GRID
NONE = len(SHAPES)
IGNORE = -100
NUM_SCENES = 12_000
CHECKER_SEED = 20_000_003
BATCH = 64
HEADS = {"shape": len(SHAPES) + 1, "colour": len(COLOURS), "fill": len(FILLS)}


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

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits {"shape": (B, cells, classes), ...} of pictures (B, 3, 64, 64) in [-1, 1]."""
        windows = functional.unfold(self.body(pictures), kernel_size=4, stride=2)  # (B, channels * 16, cells)
        logits = self.head(self.hidden(windows.transpose(1, 2)))
        return dict(zip(HEADS, logits.split(list(HEADS.values()), dim=-1), strict=True))


def cell_labels(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """What stands in each cell: {"shape": (B, cells), ...}; `NONE` and `IGNORE` in empty cells."""
    labels = {name: torch.full((len(scenes), CELLS), IGNORE) for name in HEADS}
    labels["shape"].fill_(NONE)
    for k, scene in enumerate(scenes):
        for thing in scene.things:
            cell = thing.row * GRID + thing.column
            labels["shape"][k, cell] = SHAPES.index(thing.shape)
            labels["colour"][k, cell] = COLOURS.index(thing.colour)
            labels["fill"][k, cell] = FILLS.index(thing.fill)
    return labels


def checking_loss(logits: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
    """Sum of the heads' cross entropies."""
    losses = []
    for name, target in labels.items():
        flat = logits[name].flatten(0, -2)
        losses.append(functional.cross_entropy(flat, target.flatten().to(flat.device), ignore_index=IGNORE))
    return torch.stack(losses).sum()


def _trainer(config: TinyConfig) -> Trainer:
    torch.manual_seed(config.seed + 1)
    fit = Fit(
        name="checker",
        minutes=config.checker_minutes,
        steps=config.checker_steps,
        lr=2e-3,
        seed=config.seed + 1,
        ema=0.99,
        checkpoint_minutes=config.checkpoint_minutes,
    )
    return Trainer(Checker(), fit, config.folder, config.device, alone=True)


def checker_scenes(seed: int, count: int = NUM_SCENES) -> tuple[list[Scene], Tensor]:
    """The checker's own training scenes and pictures.

    Pairs of shape and colour that are held out from the generator are in it: a judge that never saw a green heart would
    call it something else.
    """
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    scenes = [sample_scene(rng, held_out=True) for _ in range(count)]
    drawn = [draw(scenes[k : k + CHUNK], generator).mul(127.5).add(127.5).byte() for k in range(0, count, CHUNK)]
    return scenes, torch.cat(drawn)


def train_checker(config: TinyConfig) -> Checker:
    """Train (or resume, or load) the checker, on softened and noisy pictures too: no generator draws perfect edges."""
    trainer = _trainer(config)
    if trainer.progress < 1:
        scenes, pictures = checker_scenes(CHECKER_SEED + config.seed)
        labels = cell_labels(scenes)

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(pictures), (BATCH,), generator=generator)
        batch = spoil(pictures[rows].float() / 127.5 - 1, generator).to(config.device)
        return checking_loss(trainer.module(batch), {name: values[rows] for name, values in labels.items()})

    trainer.run(loss_of)
    trainer.copy_average()
    return trainer.module.eval().requires_grad_(False).cpu()


def spoil(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half of the pictures, shift their brightness and add noise."""
    count = len(pictures)
    soft = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = torch.rand(count, 1, 1, 1, generator=generator) - 0.4
    shift = 0.1 * torch.randn(count, 3, 1, 1, generator=generator)
    noise = 0.08 * torch.randn(pictures.shape, generator=generator)
    return torch.lerp(pictures, soft, amount.clamp(min=0)) + shift + noise


def middle_frame(pictures: Tensor) -> Tensor:
    """Of videos (B, 3, T, H, W) the frame in which everything stands in its cell; pictures as they are."""
    return pictures[:, :, pictures.shape[2] // 2] if pictures.dim() == 5 else pictures


@torch.no_grad()
def look(checker: Checker, pictures: Tensor) -> list[dict[int, tuple[str, str, str]]]:
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


def drawn_accuracy(checker: Checker, config: TinyConfig, count: int = 1000) -> dict[str, float]:
    """Share of objects whose attribute is right, and of scenes all right, on new drawn scenes with held-out pairs."""
    scenes, pictures = unseen_pictures(config, count)
    seen = look(checker, middle_frame(pictures))
    right = {"shape": 0, "colour": 0, "fill": 0}
    whole = objects = 0
    for scene, found in zip(scenes, seen, strict=True):
        truth = {t.row * GRID + t.column: (t.shape, t.colour, t.fill) for t in scene.things}
        objects += len(truth)
        for cell, looks in truth.items():
            for place, name in enumerate(right):
                right[name] += cell in found and found[cell][place] == looks[place]
        whole += {c: v[:2] for c, v in found.items()} == {c: v[:2] for c, v in truth.items()}
    return {name: hits / objects for name, hits in right.items()} | {"scene": whole / count}

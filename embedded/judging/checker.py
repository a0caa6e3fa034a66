"""Train the checker (`eval.scene.checker`) on drawn scenes, and measure it on others."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedded.judging.options import ScorerOptions
from embedded.training.loop import Fit, Trainer
from embedded.training.pictures import CHUNK
from embedded.world.scenes import sample_scene
from eval.scene.checker import CELLS, HEADS, NONE, Checker, look
from eval.scene.draw import draw
from eval.scene.world import COLOURS, FILLS, GRID, SHAPES, Scene

IGNORE = -100
CHECKER_SEED = 20_000_003


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


def trainer_of(module: nn.Module, name: str, lr: float, options: ScorerOptions) -> Trainer:
    """The trainer of a scorer's stage."""
    fit = Fit(
        name=name,
        minutes=getattr(options, f"{name}_minutes"),
        steps=getattr(options, f"{name}_steps"),
        lr=lr,
        seed=options.seed + 1,
        ema=0.99,
        checkpoint_minutes=options.checkpoint_minutes,
    )
    return Trainer(module, fit, options.folder, options.device, alone=True)


def drawn_scenes(seed: int, count: int, moving: bool = False) -> tuple[list[Scene], Tensor]:
    """The scorers' own training scenes and their pictures, uint8 (count, 3, 64, 64).

    Pairs of shape and colour that are held out from the generators are in it: a judge that never saw a green heart
    would call it something else. With `moving`, every other scene is a frame of a video.
    """
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    scenes = [sample_scene(rng, held_out=True, moving=moving and k % 2 == 1) for k in range(count)]
    drawn = []
    for start in range(0, count, CHUNK):
        pictures = draw(scenes[start : start + CHUNK], generator, moment=rng.random() if moving else 0.5)
        drawn.append(pictures.mul(127.5).add(127.5).byte())
    return scenes, torch.cat(drawn)


def train_checker(options: ScorerOptions) -> Checker:
    """Train (or resume, or load) the checker, on softened and noisy pictures too: no generator draws perfect edges."""
    torch.manual_seed(options.seed + 1)
    trainer = trainer_of(Checker(), "checker", 2e-3, options)
    if trainer.progress < 1:
        scenes, pictures = drawn_scenes(CHECKER_SEED + options.seed, options.num_scenes)
        labels = cell_labels(scenes)

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(pictures), (options.batch,), generator=generator)
        batch = spoil(pictures[rows].float() / 127.5 - 1, generator).to(options.device)
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


def accuracy(checker: Checker, scenes: Sequence[Scene], pictures: Tensor) -> dict[str, float]:
    """Share of objects whose attribute is named right, and of scenes with all shapes, colours and cells right."""
    seen = look(checker, pictures)
    right = {"shape": 0, "colour": 0, "fill": 0}
    whole = objects = 0
    for scene, found in zip(scenes, seen, strict=True):
        truth = {t.row * GRID + t.column: (t.shape, t.colour, t.fill) for t in scene.things}
        objects += len(truth)
        for cell, looks in truth.items():
            for place, name in enumerate(right):
                right[name] += cell in found and found[cell][place] == looks[place]
        whole += {c: v[:2] for c, v in found.items()} == {c: v[:2] for c, v in truth.items()}
    return {name: hits / objects for name, hits in right.items()} | {"scene": whole / len(scenes)}

"""What makes a picture worse, by kind and strength: noise, blur, wrong colours or words; and jitter, which does not.

A sample is a drawn scene with its caption. Strength 0 leaves it as it is; the largest of `STRENGTHS` ruins it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from embedded.world.captions import caption
from embedded.world.scenes import sample_scene
from eval.scene.draw import draw
from eval.scene.world import CELLS, COLOURS, GRID, SHAPES, Scene, Thing

STRENGTHS = {
    "noise": (0.0, 0.1, 0.2, 0.4, 0.8),  # standard deviation, of pictures in [-1, 1]
    "blur": (0.0, 0.7, 1.4, 2.8, 5.6),  # Gaussian, pixels
    "colour": (0.0, 0.25, 0.5, 0.75, 1.0),  # share of the way to other colours
    "caption": (0.0, 1.0, 2.0, 3.0, 4.0),  # wrong shapes, colours and places named
}
JITTER = (0, 1, 2)  # pixels


@dataclass(frozen=True)
class Sample:
    """B drawn scenes: what they are, their pictures (B, 3, 64, 64) in [-1, 1], the same with every colour swapped."""

    scenes: tuple[Scene, ...]
    pictures: Tensor
    swapped: Tensor
    texts: tuple[str, ...]

    def part(self, rows: slice) -> "Sample":
        """Some of them."""
        return Sample(self.scenes[rows], self.pictures[rows], self.swapped[rows], self.texts[rows])


def fresh_sample(count: int, seed: int) -> Sample:
    """Scenes with their captions and pictures, held-out pairs and rare words among them."""
    rng = random.Random(seed)
    scenes = tuple(sample_scene(rng, held_out=True) for _ in range(count))
    others = [_with_other_colours(scene, rng) for scene in scenes]
    pictures, swapped = (draw(some, torch.Generator().manual_seed(seed)) for some in (scenes, others))
    return Sample(scenes, pictures, swapped, tuple(caption(s, rng, rare=rng.random() < 0.2).text for s in scenes))


def damaged(sample: Sample, kind: str, strength: float, seed: int) -> tuple[Tensor, tuple[str, ...]]:
    """Pictures and captions of a sample with all of them damaged.

    Args:
        sample: Drawn scenes.
        kind: One of `STRENGTHS`, or "jitter", by pixels.
        strength: How much.
        seed: Of the noise and of the choice of words; of one seed, more strength adds to what less had done.
    """
    pictures, texts = sample.pictures, sample.texts
    if kind == "noise":
        noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
        pictures = (pictures + strength * noise).clamp(-1, 1)
    elif kind == "blur":
        pictures = blurred(pictures, strength)
    elif kind == "colour":
        pictures = torch.lerp(pictures, sample.swapped, strength)
    elif kind == "caption":
        texts = tuple(_mistold(scene, int(strength), seed + k) or texts[k] for k, scene in enumerate(sample.scenes))
    else:
        pictures = shifted(pictures, int(strength), int(strength))
    return pictures, texts


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, borders continued."""
    if sigma == 0:
        return pictures
    radius = int(3 * sigma + 0.5)
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).to(pictures)
    for shape, pad in (((1, -1), (radius, radius, 0, 0)), ((-1, 1), (0, 0, radius, radius))):
        kernel = weights.view(1, 1, *shape).expand(3, 1, -1, -1)
        pictures = functional.conv2d(functional.pad(pictures, pad, mode="replicate"), kernel, groups=3)
    return pictures


def shifted(pictures: Tensor, right: int, down: int) -> Tensor:
    """Pictures moved by whole pixels, borders continued."""
    reach = max(abs(right), abs(down))
    wide = functional.pad(pictures, (reach,) * 4, mode="replicate")
    height, width = pictures.shape[-2:]
    return wide[..., reach - down : reach - down + height, reach - right : reach - right + width]


def told_wrong(scene: Scene, rng: random.Random, count: int = 1) -> Scene:
    """A scene like this one, but for `count` shapes, colours or places; all there are, if they are fewer."""
    facts = [(name, k) for k in range(len(scene.things)) for name in ("shape", "colour")] + [("place", 0)]
    wrong = rng.sample(facts, min(count, len(facts)))
    for name, k in sorted(wrong, key=lambda fact: fact[0] == "place"):  # which may take a thing away
        scene = _moved(scene, rng) if name == "place" else _changed(scene, name, k, rng)
    return scene


def _mistold(scene: Scene, count: int, seed: int) -> str:
    """A caption with so many mistakes; "" for none."""
    if count == 0:
        return ""
    rng = random.Random(seed)
    return caption(told_wrong(scene, rng, count), rng).text


def _changed(scene: Scene, name: str, k: int, rng: random.Random) -> Scene:
    """The scene with another shape or colour of its k-th thing."""
    things = list(scene.things)
    thing = things[k]
    if name == "shape":
        things[k] = replace(thing, shape=rng.choice([shape for shape in SHAPES if shape != thing.shape]))
    else:
        things[k] = replace(thing, colour=rng.choice([colour for colour in COLOURS if colour != thing.colour]))
    return replace(scene, things=tuple(things))


def _moved(scene: Scene, rng: random.Random) -> Scene:
    """The scene with its single thing in another cell, its things in reverse, or another layout if all are alike."""
    looks = list(scene.things)
    if len(looks) == 1:
        own = (looks[0].row, looks[0].column)
        others = [(row, column) for row in range(GRID) for column in range(GRID) if (row, column) != own]
        cells: Sequence[tuple[int, int]] = [rng.choice(others)]
    elif [_look(thing) for thing in looks] != [_look(thing) for thing in reversed(looks)]:
        cells = CELLS[scene.layout]
        looks.reverse()
    else:
        cells = CELLS["above" if scene.layout == "beside" else "beside"]
    things = [replace(thing, row=row, column=column) for thing, (row, column) in zip(looks, cells)]
    return replace(scene, things=tuple(things))


def _look(thing: Thing) -> Thing:
    """The thing, wherever it stands."""
    return replace(thing, row=0, column=0)


def _with_other_colours(scene: Scene, rng: random.Random) -> Scene:
    """The scene with every thing in another colour."""
    for k in range(len(scene.things)):
        scene = _changed(scene, "colour", k, rng)
    return scene

"""Pictures of scenes: vectorised, anti-aliased, seeded drawing with signed distance functions (SDF).

Every pixel's distance to an object's edge gives its coverage, its outline and where its fill pattern lies, so edges are
one pixel sharp and nothing is rasterised in Python loops over pixels. Shape letters: B scenes, T things, H W pixels.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eval.scene.outlines import shape_distance
from eval.scene.world import BACKGROUNDS, FILLS, SHAPES, Scene, Thing

SIZE = 64  # the unit of all lengths below; a picture may have a multiple of it in pixels
CELL_CENTRES = (12.5, 32.0, 51.5)
RADIUS = {"large": 11.0, "small": 6.8}
CROWDED = 0.86  # three in a row would touch at full size
STAR_FIELD = 14
# What a motion adds from a video's first moment to its last.
TRAVEL, GROWTH, TURN = 14.0, 0.7, 1.2  # units, share of the radius, radians
DIRECTION = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
# Pixels from end to end. Twice as much, with freely turned shapes, and a model trained for an hour draws blobs: what it
# cannot resolve it averages, and an average over one pixel is still a heart.
PLACE_JITTER = 2.0

RGB = {
    "red": (0.88, 0.13, 0.14),
    "orange": (0.98, 0.53, 0.07),
    "yellow": (0.98, 0.88, 0.12),
    "green": (0.13, 0.64, 0.24),
    "blue": (0.12, 0.32, 0.88),
    "purple": (0.52, 0.16, 0.70),
    "pink": (1.00, 0.52, 0.76),
    "white": (0.98, 0.98, 0.98),
}
# Top and bottom colour above the horizon, then below it.
SKY = {
    "night": ((0.03, 0.04, 0.15), (0.12, 0.14, 0.36), (0.12, 0.14, 0.36), (0.17, 0.17, 0.40)),
    "meadow": ((0.50, 0.78, 0.96), (0.82, 0.93, 0.98), (0.46, 0.74, 0.32), (0.30, 0.58, 0.20)),
    "sea": ((0.72, 0.87, 0.97), (0.93, 0.97, 0.99), (0.20, 0.60, 0.74), (0.05, 0.36, 0.56)),
    "sand": ((0.60, 0.82, 0.95), (0.95, 0.92, 0.84), (0.95, 0.84, 0.60), (0.84, 0.68, 0.42)),
    "gray": ((0.66, 0.67, 0.69), (0.62, 0.63, 0.65), (0.62, 0.63, 0.65), (0.56, 0.57, 0.59)),
    "dusk": ((0.42, 0.30, 0.52), (0.93, 0.58, 0.58), (0.96, 0.68, 0.56), (0.99, 0.84, 0.68)),
}


def _pixels(scale: int) -> Tensor:
    """Pixel centres (H, W, 2), x first, in units of the world of 64."""
    axis = (torch.arange(SIZE * scale) + 0.5) / scale
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)


def draw(scenes: Sequence[Scene], generator: torch.Generator, scale: int = 1, moment: float = 0.5) -> Tensor:
    """Draw scenes with a little jitter of place, size, angle, horizon and tint.

    Args:
        scenes: B scenes.
        generator: CPU generator; equal states give equal pictures.
        scale: Pixels per unit: the same scene, sharper.
        moment: Of the scenes' motions, 0 to 1; in the middle everything is where a picture has it.

    Returns:
        Pictures (B, 3, 64 scale, 64 scale), float32 in [-1, 1].
    """
    picture = _draw_backgrounds(scenes, generator, scale)
    for slot in range(max(len(scene.things) for scene in scenes)):
        _draw_things(picture, scenes, slot, generator, scale, moment)
    return picture.clamp(0, 1).permute(0, 3, 1, 2) * 2 - 1


def draw_videos(scenes: Sequence[Scene], seed: int, num_frames: int, scale: int = 1) -> Tensor:
    """Videos (B, 3, num_frames, 64 scale, 64 scale) of scenes with motions; every frame has the same jitter."""
    moments = [k / (num_frames - 1) for k in range(num_frames)]
    return torch.stack([draw(scenes, torch.Generator().manual_seed(seed), scale, moment) for moment in moments], dim=2)


def _draw_backgrounds(scenes: Sequence[Scene], generator: torch.Generator, scale: int) -> Tensor:
    """Gradients above and below a horizon, stars at night, waves on the sea: (B, H, W, 3) in [0, 1]."""
    b = len(scenes)
    pixels = _pixels(scale)[None]
    y = pixels[..., 1:]
    horizon = 38 + 5 * (torch.rand(b, 1, 1, 1, generator=generator) - 0.5)
    tint = 0.05 * (torch.rand(b, 1, 1, 3, generator=generator) - 0.5)
    spots = torch.rand(b, STAR_FIELD, 3, generator=generator)
    phase = torch.rand(b, 1, 1, generator=generator) * 2 * math.pi
    table = torch.tensor([SKY[name] for name in BACKGROUNDS])
    which = torch.tensor([BACKGROUNDS.index(scene.background) for scene in scenes])
    top, low, near, bottom = table[which][:, :, None, None].unbind(1)
    above = torch.lerp(top, low, (y / horizon).clamp(0, 1))
    below = torch.lerp(near, bottom, ((y - horizon) / (SIZE - horizon)).clamp(0, 1))
    picture = torch.lerp(above, below, ((y - horizon) * scale + 0.5).clamp(0, 1)) + tint
    night, sea = which == BACKGROUNDS.index("night"), which == BACKGROUNDS.index("sea")
    picture[night] = _add_stars(picture[night], spots[night], pixels)
    x, y = pixels.unbind(-1)
    wave = 0.05 * torch.sin(y * 1.05 + 1.1 * torch.sin(x * 0.30 + phase[sea])) * (y > horizon[sea, ..., 0] + 1)
    picture[sea] += wave[..., None]
    return picture


def _add_stars(picture: Tensor, spots: Tensor, pixels: Tensor) -> Tensor:
    """Stars at (x, y, brightness) `spots` (B, STAR_FIELD, 3), all in [0, 1], added to (B, H, W, 3)."""
    for k in range(STAR_FIELD):
        distance = (pixels - spots[:, None, None, k, :2] * SIZE).norm(dim=-1, keepdim=True)
        picture = picture + (1.4 - distance).clamp(0, 1) * (0.35 + 0.6 * spots[:, None, None, k, 2:])
    return picture


def _draw_things(
    picture: Tensor, scenes: Sequence[Scene], slot: int, generator: torch.Generator, scale: int, moment: float
) -> None:
    """Paint the slot-th thing of every scene that has one onto the pictures, in place."""
    jitter = torch.rand(len(scenes), 6, generator=generator) - 0.5
    for shape in SHAPES:
        rows = [k for k, s in enumerate(scenes) if len(s.things) > slot and s.things[slot].shape == shape]
        if rows:
            picture[rows] = _paint(picture[rows], [scenes[k] for k in rows], slot, jitter[rows], scale, moment)


def _paint(picture: Tensor, scenes: Sequence[Scene], slot: int, jitter: Tensor, scale: int, moment: float) -> Tensor:
    """Paint things of one shape: coverage from the SDF, then fill pattern, then outline."""
    things = [scene.things[slot] for scene in scenes]
    crowd = torch.tensor([CROWDED if scene.layout == "row" else 1.0 for scene in scenes])
    radius = torch.tensor([RADIUS[thing.size] for thing in things]) * crowd * (1 + 0.06 * jitter[:, 0])
    centre = torch.tensor([(CELL_CENTRES[thing.column], CELL_CENTRES[thing.row]) for thing in things])
    travel, growth, turn = _moved([scene.motion for scene in scenes], moment)
    radius = radius * growth
    centre = centre + PLACE_JITTER * jitter[:, 1:3] + travel
    offset = _pixels(scale)[None] - centre[:, None, None]
    angle = 0.1 * jitter[:, 3] + turn
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x, y = offset.unbind(-1)
    local = torch.stack([x * cos + y * sin, y * cos - x * sin], dim=-1)
    distance = shape_distance(local / radius[:, None, None, None], things[0].shape) * radius[:, None, None]
    inside = (0.5 - distance * scale).clamp(0, 1)[..., None]
    colour = torch.tensor([RGB[thing.colour] for thing in things])[:, None, None] + 0.06 * jitter[:, None, None, 4:5]
    dark = torch.tensor([0.08, 0.07, 0.12])
    light = torch.tensor([0.96, 0.94, 0.86])
    at_night = torch.tensor([scene.background == "night" for scene in scenes])[:, None, None, None]
    edge = (distance * scale + (1.4 * scale + 0.5)).clamp(0, 1)[..., None]
    body = torch.lerp(_fill(local, colour, things), torch.where(at_night, light, dark).expand_as(colour), edge)
    return torch.lerp(picture, body, inside)


def _moved(motions: Sequence[str], moment: float) -> tuple[Tensor, Tensor, Tensor]:
    """What motions have done to things by a moment: travel (B, 2), growth (B,) as a factor, turn (B,) in radians."""
    since = moment - 0.5
    travel = torch.tensor([DIRECTION.get(name, (0.0, 0.0)) for name in motions]) * TRAVEL * since
    signs = torch.tensor([(name == "growing") - (name == "shrinking") for name in motions])
    turn = torch.tensor([TURN * since if name == "spinning" else 0.0 for name in motions])
    return travel, 1 + GROWTH * since * signs, turn


def _fill(local: Tensor, colour: Tensor, things: Sequence[Thing]) -> Tensor:
    """Plain, striped or dotted body colours (B, H, W, 3); the second colour is white, or gray on white."""
    u, v = (local[..., 0] + local[..., 1]) / math.sqrt(2), (local[..., 0] - local[..., 1]) / math.sqrt(2)
    stripes = (2.2 * torch.sin(u * 2 * math.pi / 5.0) + 0.5).clamp(0, 1)
    pitch = 4.8
    cell = torch.stack([u, v], dim=-1) / pitch
    dots = (2.0 - (cell - cell.round()).norm(dim=-1) * pitch).clamp(0, 1)
    pattern = torch.stack([torch.zeros_like(stripes), stripes, dots])
    which = torch.tensor([FILLS.index(thing.fill) for thing in things])
    amount = pattern[which, torch.arange(len(things))][..., None]
    gray = torch.tensor([thing.colour == "white" for thing in things])[:, None, None, None]
    second = torch.where(gray, torch.tensor([0.45, 0.47, 0.52]), torch.tensor([1.0, 1.0, 0.98]))
    return torch.lerp(colour.expand(*local.shape[:-1], 3), second.expand(*local.shape[:-1], 3), amount * 0.92)

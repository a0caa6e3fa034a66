"""Seeded random scenes of the embedded models' world, and the pairs of shape and colour that training never shows."""

import random

from eval.scene.world import BACKGROUNDS, CELLS, COLOURS, FILLS, GRID, MOTIONS, SHAPES, SIZES, Scene, Thing

# One colour per shape that no training scene shows: drawing them means composing, not remembering.
HELD_OUT_PAIRS = frozenset(
    {
        ("circle", "white"),
        ("square", "orange"),
        ("triangle", "pink"),
        ("star", "blue"),
        ("heart", "green"),
        ("diamond", "red"),
        ("ring", "yellow"),
        ("cross", "purple"),
    }
)


def layout_cells(layout: str, rng: random.Random) -> list[tuple[int, int]]:
    """Cells (row, column) of a layout, in reading order; only a single thing has a choice."""
    return list({"single": [(rng.randrange(GRID), rng.randrange(GRID))], **CELLS}[layout])


def sample_scene(rng: random.Random, held_out: bool = False, moving: bool = False) -> Scene:
    """A random scene, of a picture or (`moving`) of a video, which has one or two things and a motion.

    Args:
        rng: Source of all choices: equal states give equal scenes.
        held_out: Also allow the pairs in `HELD_OUT_PAIRS`, which training never shows.
        moving: It is a video's.

    Returns:
        A scene; in a fifth of those with several things, all things look the same ("three red hearts").
    """
    layout = rng.choices(("single", "beside", "above", "row"), (60, 20, 20, 0) if moving else (40, 24, 24, 12))[0]
    alike = rng.random() < 0.2
    cells = layout_cells(layout, rng)
    looks = [_sample_look(rng, held_out) for _ in cells]
    if alike:
        looks = looks[:1] * len(cells)
    things = tuple(
        Thing(shape=shape, colour=colour, row=row, column=column, size=size, fill=fill)
        for (shape, colour, size, fill), (row, column) in zip(looks, cells, strict=True)
    )
    return Scene(things, rng.choice(BACKGROUNDS), rng.choice(MOTIONS) if moving else "")


def _sample_look(rng: random.Random, held_out: bool) -> tuple[str, str, str, str]:
    """Shape, colour, size and fill of one thing."""
    while True:
        shape, colour = rng.choice(SHAPES), rng.choice(COLOURS)
        if held_out or (shape, colour) not in HELD_OUT_PAIRS:
            return shape, colour, rng.choices(SIZES, (65, 35))[0], rng.choices(FILLS, (50, 25, 25))[0]

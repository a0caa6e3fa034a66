"""The little world the embedded models are trained on: what can be in a picture.

A `Scene` is pure structure. `eval.scene.draw` turns it into a picture, `embedded.world.captions` into words.
Objects stand on a 3x3 grid of cells: one object in any cell, two side by side or one above the other, three in a row.
"""

from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "ring", "cross")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
FILLS = ("plain", "striped", "dotted")
SIZES = ("large", "small")
BACKGROUNDS = ("night", "meadow", "sea", "sand", "gray", "dusk")
MOTIONS = ("still", "left", "right", "up", "down", "growing", "shrinking", "spinning")
GRID = 3
MAX_OBJECTS = 3

# Cells (row, column) of the layouts of several things, in reading order.
CELLS = {"beside": ((1, 0), (1, 2)), "above": ((0, 1), (2, 1)), "row": ((1, 0), (1, 1), (1, 2))}


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Args:
        shape: One of `SHAPES`.
        colour: One of `COLOURS`.
        row: Cell row, 0 is the top.
        column: Cell column, 0 is the left.
        size: One of `SIZES`.
        fill: One of `FILLS`.

    Raises:
        ValueError: A word is not of this world, or the cell lies outside the grid.
    """

    shape: str
    colour: str
    row: int = 1
    column: int = 1
    size: str = "large"
    fill: str = "plain"

    def __post_init__(self) -> None:
        known = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "fill": FILLS}
        for name, words in known.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name} must be one of {words}, got {getattr(self, name)!r}")
        if not (0 <= self.row < GRID and 0 <= self.column < GRID):
            raise ValueError(f"cell must lie in a {GRID}x{GRID} grid, got row {self.row}, column {self.column}")


@dataclass(frozen=True)
class Scene:
    """Up to three things on a background.

    Args:
        things: Read from left to right, or from top to bottom; no two in one cell.
        background: One of `BACKGROUNDS`.
        motion: One of `MOTIONS`, of all things alike; "" for a picture.

    Raises:
        ValueError: Unknown background or motion, wrong number of things, or two things in one cell.
    """

    things: tuple[Thing, ...]
    background: str
    motion: str = ""

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            raise ValueError(f"background must be one of {BACKGROUNDS}, got {self.background!r}")
        if self.motion not in ("", *MOTIONS):
            raise ValueError(f"motion must be one of {MOTIONS}, got {self.motion!r}")
        if not 1 <= len(self.things) <= MAX_OBJECTS:
            raise ValueError(f"a scene has 1 to {MAX_OBJECTS} things, got {len(self.things)}")
        cells = {(thing.row, thing.column) for thing in self.things}
        if len(cells) < len(self.things):
            raise ValueError(f"two things stand in one cell: {self.things}")

    @property
    def layout(self) -> str:
        """How the things stand to each other: "single", "beside", "above" or "row"."""
        if len(self.things) == 1:
            return "single"
        if len(self.things) == MAX_OBJECTS:
            return "row"
        return "beside" if self.things[0].row == self.things[1].row else "above"

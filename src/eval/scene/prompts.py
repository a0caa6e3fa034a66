"""What a prompt asks for: reads the captions of the embedded models' world back, template by template."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

from eval.scene.words import ABOVE, ALIKE, BESIDE, COMMON, CORNERS, MOVES, OPENINGS, PLACES, RARE, ROW
from eval.scene.world import CELLS, COLOURS, FILLS, SHAPES, SIZES

Frame = dict[str, Any]  # layout, cells, background, motion, and "order": which named thing is which

MEANING = {name: name for name in (*SHAPES, *COLOURS, *FILLS, *SIZES)} | {
    word: name for table in (COMMON, RARE) for name, words in table.items() for word in words
}
TAILS = {" with stripes": "striped", " with dots": "dotted"}


def _any_of(*kinds: tuple[str, ...]) -> str:
    """A pattern of every word for these attributes."""
    names = {name for kind in kinds for name in kind}
    return "|".join(sorted((word for word, name in MEANING.items() if name in names), key=len, reverse=True))


NOUN = re.compile(
    rf"\b(?:an? )?((?:(?:{_any_of(SIZES, FILLS, COLOURS)}) )*)({_any_of(SHAPES)})(?:es|s)?\b({'|'.join(TAILS)})?"
)


def read_prompt(prompt: str) -> dict[str, Any]:
    """What a prompt asks for, as a line of the suites says it: layout, objects, background, and motion.

    A caption of a video may leave out that nothing moves, so the motion is "still" where none is named.

    Raises:
        ValueError: the prompt is no caption of this world.
    """
    nouns: list[dict[str, Any]] = []

    def take(match: re.Match) -> str:
        nouns.append(_looks(*match.groups()))
        return "#"

    text = NOUN.sub(take, prompt.strip().lower().removesuffix("."))
    for opening in filter(None, OPENINGS):
        text = text.removeprefix(opening)
    frame = _frames().get(text)
    if frame is None or any(noun["colour"] is None for noun in nouns):
        raise ValueError(
            f"prompt_match cannot read the prompt {prompt!r}: it knows captions of the embedded models' world, such as "
            '"a large striped red circle above a small blue star on a night sky"'
        )
    things = [nouns[k] for k in frame["order"]]
    objects = [thing | {"cell": list(cell)} for thing, cell in zip(things, frame["cells"], strict=True)]
    told = {name: frame[name] for name in ("layout", "background", "motion")}
    return told | {"prompt": prompt, "objects": objects}


def _looks(adjectives: str, shape: str, tail: str | None) -> dict[str, Any]:
    """Shape, colour, size and fill that a noun names; None where it names no colour or size."""
    named = {MEANING[word] for word in adjectives.split()} | ({TAILS[tail]} if tail else set())

    def one(kind: tuple[str, ...], default: str | None) -> str | None:
        return next((name for name in kind if name in named), default)

    return {
        "shape": MEANING[shape],
        "colour": one(COLOURS, None),
        "size": one(SIZES, None),
        "fill": one(FILLS, "plain"),
    }


@cache
def _frames() -> dict[str, Frame]:
    """Every caption there is, without what stands in it ("# above # at dusk, sinking")."""
    frames: dict[str, Frame] = {}
    places = [("", None), *((place, name) for name, words in PLACES.items() for place in words)]
    moves = [("", "still"), *((move, name) for name, words in MOVES.items() for move in words)]
    for (text, frame), (place, background), (move, motion) in product(_arrangements(), places, moves):
        end = f", {move}" if move else ""
        said = frame | {"background": background, "motion": motion}
        frames |= {f"{place}, {text}{end}": said, f"{text} {place}{end}": said} if place else {f"{text}{end}": said}
    return frames


def _arrangements() -> Iterator[tuple[str, Frame]]:
    """How things stand to each other, in words ("# above #")."""
    for cell, places in CORNERS.items():
        yield from ((f"# {place}".strip(), {"layout": "single", "cells": (cell,), "order": (0,)}) for place in places)
    for layout, templates in {"beside": BESIDE, "above": ABOVE, "row": ROW}.items():
        for template in templates:
            told = list(re.findall(r"\{(\w)\}", template))
            order = tuple(told.index(letter) for letter in sorted(told))
            yield re.sub(r"\{\w\}", "#", template), {"layout": layout, "cells": CELLS[layout], "order": order}
    for layout, templates in ALIKE.items():
        for template in templates:
            same = (0,) * len(CELLS[layout])
            yield template.format(s="#"), {"layout": layout, "cells": CELLS[layout], "order": same}

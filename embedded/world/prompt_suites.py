"""The prompt suites in `assets/prompts`, in our own words, disjoint, with what a checker should find for every prompt.

Pictures: 64 scene prompts and 50 for calibration. Videos: 48 prompts, six for every motion, and 48 for calibration.
`python -m embedded.world.prompt_suites` writes them again, byte for byte.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path

from embedded.world.captions import Caption, caption
from embedded.world.scenes import HELD_OUT_PAIRS, layout_cells
from eval.scene.words import MOVES, RARE
from eval.scene.world import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, Scene, Thing

FOLDER = Path("assets/prompts")
SCENES = {"colours": 13, "counting": 13, "positions": 13, "conflicting": 13, "rare words": 12}
CALIBRATION = {"colour": 10, "shape": 10, "count": 10, "position": 10, "texture": 10}
VIDEOS = dict.fromkeys(MOTIONS, 6)
RARE_WORDS = frozenset(word for words in RARE.values() for word in words)
Looks = list[tuple[str, str, str, str]]  # shape, colour, size, fill of each thing


def _pair(rng: random.Random) -> tuple[str, str]:
    """A (shape, colour) pair that training shows."""
    return rng.choice([(s, c) for s in SHAPES for c in COLOURS if (s, c) not in HELD_OUT_PAIRS])


def _colours(rng: random.Random, k: int) -> Looks:
    """Two or three plain things, each of another colour."""
    while True:
        pairs = [_pair(rng) for _ in range(3 if k % 5 == 4 else 2)]
        if len({colour for _, colour in pairs}) == len(pairs):
            return [(*pair, "large", "plain") for pair in pairs]


def _shapes(rng: random.Random, k: int) -> Looks:
    """Two things of one colour and two shapes."""
    while True:
        (shape, colour), (other, _) = _pair(rng), _pair(rng)
        if shape != other and (other, colour) not in HELD_OUT_PAIRS:
            return [(shape, colour, "large", "plain"), (other, colour, "large", "plain")]


def _counting(rng: random.Random, k: int) -> Looks:
    """Two or three of the same, or three different things."""
    fill, size = rng.choice(("plain", "plain", "striped")), rng.choice(("large", "large", "small"))
    if k % 4 == 3:
        return [(*_pair(rng), "large", "plain") for _ in range(3)]
    return [(*_pair(rng), size, fill)] * (2 + k % 2)


def _positions(rng: random.Random, k: int) -> Looks:
    """One thing somewhere, or two in a named order."""
    return [(*_pair(rng), "large", rng.choice(("plain", "plain", "dotted"))) for _ in range(1 if k % 4 < 3 else 2)]


def _conflicting(rng: random.Random, k: int) -> Looks:
    """A pair of shape and colour that no training picture shows, alone or with another thing."""
    held = sorted(HELD_OUT_PAIRS)[k % len(HELD_OUT_PAIRS)]
    other = [(*_pair(rng), "large", "plain")] if k % 2 else []
    return [(*held, "large", "plain"), *other]


def _rare(rng: random.Random, k: int) -> Looks:
    """Things with attributes for which the captions have a rare word."""
    while True:
        pairs = [_pair(rng) for _ in range(1 + k % 2)]
        if all(shape in RARE or colour in RARE for shape, colour in pairs):
            return [(*pair, rng.choice(("large", "small")), "plain") for pair in pairs]


def _texture(rng: random.Random, k: int) -> Looks:
    """Striped and dotted things."""
    fills = rng.sample(("striped", "dotted"), 2)
    return [(*_pair(rng), "large", fill) for fill in fills[: 1 + k % 2]]


def _moving(rng: random.Random, k: int) -> Looks:
    """One thing or two; not those that look the same when they are turned."""
    while True:
        pairs = [_pair(rng) for _ in range(1 + k % 2)]
        if not any(shape in ("circle", "ring") for shape, _ in pairs):
            return [(*pair, "large", rng.choice(("plain", "plain", "striped", "dotted"))) for pair in pairs]


MAKERS: dict[str, Callable[[random.Random, int], Looks]] = {
    "colours": _colours,
    "counting": _counting,
    "positions": _positions,
    "conflicting": _conflicting,
    "rare words": _rare,
    "colour": _colours,
    "shape": _shapes,
    "count": _counting,
    "position": _positions,
    "texture": _texture,
    **dict.fromkeys(MOTIONS, _moving),
}


def _stage(looks: Looks, rng: random.Random, motion: str) -> Scene:
    """Put things in a layout that fits their number, and in motion if it is a video's ("" if not)."""
    layout = {1: "single", 2: rng.choice(("beside", "above")), 3: "row"}[len(looks)]
    things = [
        Thing(shape=shape, colour=colour, row=row, column=column, size=size, fill=fill)
        for (shape, colour, size, fill), (row, column) in zip(looks, layout_cells(layout, rng), strict=True)
    ]
    return Scene(tuple(things), rng.choice(BACKGROUNDS), motion)


def _entry(scene: Scene, words: Caption, category: str) -> dict:
    """One line of a suite; what the prompt leaves open is null."""
    objects = [
        {
            "shape": thing.shape,
            "colour": thing.colour,
            "size": thing.size if named else None,
            "fill": thing.fill,
            "cell": [thing.row, thing.column],
        }
        for thing, named in zip(scene.things, words.sizes_named, strict=True)
    ]
    background = scene.background if words.background_named else None
    motion = {"motion": scene.motion} if scene.motion else {}
    return motion | {
        "prompt": words.text,
        "category": category,
        "layout": scene.layout,
        "background": background,
        "objects": objects,
    }


def _fits(words: Caption, category: str) -> bool:
    """Lower case, without a final stop, with a rare word exactly where the category asks for one; videos name all."""
    if category in MOTIONS and not (words.background_named and any(move in words.text for move in MOVES[category])):
        return False
    plain = words.text[0].islower() and not words.text.endswith(".")
    found = {word.strip(",").removesuffix("s") for word in words.text.split()} & RARE_WORDS
    return plain and bool(found) == (category == "rare words")


def build_suite(counts: dict[str, int], seed: int, avoid: frozenset[str] = frozenset()) -> list[dict]:
    """Entries of a suite.

    Args:
        counts: Category -> number of prompts.
        seed: Source of all choices.
        avoid: Prompts that must not be in it.
    """
    rng, entries, used = random.Random(seed), [], set(avoid)
    for category, count in counts.items():
        made = 0
        while made < count:
            scene = _stage(MAKERS[category](rng, made), rng, category if category in MOTIONS else "")
            words = caption(scene, rng, rare=category == "rare words")
            if words.text not in used and _fits(words, category):
                used.add(words.text)
                entries.append(_entry(scene, words, category))
                made += 1
    return entries


def load_suite(name: str) -> list[dict]:
    """The entries of `assets/prompts/<name>.jsonl`."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


def write_suites(folder: Path = FOLDER) -> None:
    """Write all suites."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes, videos = build_suite(SCENES, seed=2026), build_suite(VIDEOS, seed=2028)
    avoid = frozenset(entry["prompt"] for entry in (*scenes, *videos))
    suites = {
        "scenes": scenes,
        "calibration": build_suite(CALIBRATION, seed=2027, avoid=avoid),
        "videos": videos,
        "video_calibration": build_suite(VIDEOS, seed=2029, avoid=avoid),
    }
    for name, entries in suites.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


if __name__ == "__main__":
    write_suites()

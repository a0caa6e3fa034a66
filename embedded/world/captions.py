"""Captions of scenes, from templates and synonyms, with a note of what each caption leaves open.

Words in `RARE` are held out from picture training. `caption(..., rare=True)` uses them, for the text encoders' training
and for "rare words" prompts.
"""

import random
from dataclasses import dataclass

from eval.scene.words import ABOVE, ALIKE, BESIDE, COMMON, CORNERS, MOVES, OPENINGS, PLACES, RARE, ROW
from eval.scene.world import MAX_OBJECTS, Scene, Thing

MAX_WORDS = 20  # commas count: one word or comma is one token, and the text encoder reads 24


@dataclass(frozen=True)
class Caption:
    """A caption and what it says.

    Args:
        text: The words.
        sizes_named: For each thing of the scene, whether the text names its size.
        background_named: Whether the text names the background.
    """

    text: str
    sizes_named: tuple[bool, ...]
    background_named: bool


def caption(scene: Scene, rng: random.Random, rare: bool = False) -> Caption:
    """Describe a scene in at most `MAX_WORDS` words.

    Args:
        scene: What to describe. Often unnamed: sizes, plain fills; sometimes the middle cell and the background.
        rng: Source of all choices of template and synonym.
        rare: Prefer the held-out synonyms in `RARE`.

    Returns:
        A caption that is true of the scene.
    """
    while True:
        sizes = tuple(rng.random() < (0.85 if thing.size == "small" else 0.4) for thing in scene.things)
        text = _arrangement(scene, sizes, rng, rare)
        named = rng.random() < 0.88
        if named:
            place = rng.choice(PLACES[scene.background])
            text = f"{place}, {text}" if rng.random() < 0.12 else f"{text} {place}"
        if scene.motion and not (scene.motion == "still" and rng.random() < 0.3):
            text = f"{text}, {rng.choice(MOVES[scene.motion])}"
        if len(scene.things) < MAX_OBJECTS and text.startswith(("a", "two")) and not text.startswith("at"):
            text = rng.choice(OPENINGS) + text
        if len(text.replace(",", " ,").split()) <= MAX_WORDS:
            return Caption(_spell(text, rng), sizes if not _alike(scene) else sizes[:1] * len(sizes), named)


def _spell(text: str, rng: random.Random) -> str:
    """Sometimes write the first letter large or end with a full stop, as people do."""
    text = text[0].upper() + text[1:] if rng.random() < 0.15 else text
    return text + "." if rng.random() < 0.1 else text


def _alike(scene: Scene) -> bool:
    """Whether several things look the same."""
    looks = {(thing.shape, thing.colour, thing.size, thing.fill) for thing in scene.things}
    return len(scene.things) > 1 and len(looks) == 1


def _word(name: str, rng: random.Random, rare: bool) -> str:
    """A synonym of an attribute's name."""
    words = RARE.get(name) if rare and rng.random() < 0.7 else None
    return rng.choice(words or COMMON.get(name, (name,)))


def _noun(thing: Thing, size_named: bool, rng: random.Random, rare: bool) -> str:
    """Adjectives and noun, without an article: "large striped red circle" or "red circle with stripes"."""
    words = [_word(thing.size, rng, rare)] if size_named else []
    tail = ""
    if thing.fill == "plain":
        words += ["plain"] if rng.random() < 0.08 else []
    elif not rare and rng.random() < 0.2:
        tail = " with stripes" if thing.fill == "striped" else " with dots"
    else:
        words.append(_word(thing.fill, rng, rare))
    return " ".join([*words, _word(thing.colour, rng, rare), _word(thing.shape, rng, rare)]) + tail


def plural(noun: str) -> str:
    """Plural of the head word, also before "with stripes"."""
    head, *tail = noun.split(" with ")
    head += "es" if head.endswith(("s", "x")) else "s"
    return " with ".join([head, *tail])


def _article(noun: str) -> str:
    """The noun with "a" or "an"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _arrangement(scene: Scene, sizes: tuple[bool, ...], rng: random.Random, rare: bool) -> str:
    """The things and how they stand to each other, without the background."""
    if _alike(scene):
        return rng.choice(ALIKE[scene.layout]).format(s=plural(_noun(scene.things[0], sizes[0], rng, rare)))
    nouns = [_article(_noun(thing, named, rng, rare)) for thing, named in zip(scene.things, sizes, strict=True)]
    if scene.layout == "single":
        place = rng.choice(CORNERS[scene.things[0].row, scene.things[0].column])
        return f"{nouns[0]} {place}".strip()
    if scene.layout == "row":
        return rng.choice(ROW).format(a=nouns[0], b=nouns[1], c=nouns[2])
    return rng.choice(BESIDE if scene.layout == "beside" else ABOVE).format(a=nouns[0], b=nouns[1])

"""Captions of scenes, from templates and synonyms, with a note of what each caption leaves open.

Words in `RARE` are held out from picture training: only the text encoders meet them, as a language model knows words
that its image model never saw. `caption(..., rare=True)` uses them, for that training and for "rare words" prompts.
"""

import random
from dataclasses import dataclass

from embedded.world.scenes import MAX_OBJECTS, Scene, Thing

MAX_WORDS = 20  # commas count: one word or comma is one token, and the text encoder reads 24

COMMON = {
    "large": ("large", "big"),
    "small": ("small", "little"),
    "striped": ("striped",),
    "dotted": ("dotted", "spotted"),
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
}
RARE = {
    "large": ("huge", "giant"),
    "small": ("tiny",),
    "striped": ("stripy",),
    "dotted": ("speckled",),
    "red": ("scarlet", "crimson"),
    "yellow": ("golden",),
    "green": ("emerald",),
    "blue": ("azure",),
    "purple": ("violet",),
    "white": ("snowy",),
    "ring": ("hoop",),
    "diamond": ("rhombus",),
}
PLACES = {
    "night": ("on a night sky", "at night", "on a starry sky"),
    "meadow": ("on a meadow", "in a meadow", "on the grass"),
    "sea": ("at sea", "over the sea", "on the water"),
    "sand": ("on the sand", "at the beach", "in the desert"),
    "gray": ("on a plain gray background", "on gray", "on a gray wall"),
    "dusk": ("at dusk", "at sunset", "on an evening sky"),
}
MOVES = {
    "still": ("standing still", "not moving"),
    "left": ("moving left", "moving to the left"),
    "right": ("moving right", "moving to the right"),
    "up": ("moving up", "rising"),
    "down": ("moving down", "sinking"),
    "growing": ("growing", "getting larger"),
    "shrinking": ("shrinking", "getting smaller"),
    "spinning": ("spinning", "turning"),
}
CORNERS = {
    (0, 0): ("in the top left corner", "at the top left"),
    (0, 1): ("at the top", "in the top middle"),
    (0, 2): ("in the top right corner", "at the top right"),
    (1, 0): ("on the left", "on the left side"),
    (1, 1): ("in the middle", "in the centre", ""),
    (1, 2): ("on the right", "on the right side"),
    (2, 0): ("in the bottom left corner", "at the bottom left"),
    (2, 1): ("at the bottom", "in the bottom middle"),
    (2, 2): ("in the bottom right corner", "at the bottom right"),
}
BESIDE = (
    "{a} to the left of {b}",
    "{b} to the right of {a}",
    "{a} on the left and {b} on the right",
    "{a} and {b} side by side",
    "{a} next to {b}",
    "{a} and {b}",
)
ABOVE = ("{a} above {b}", "{b} below {a}", "{b} under {a}", "{a} at the top and {b} at the bottom", "{a} on top of {b}")
ROW = ("{a}, {b} and {c}", "{a}, {b} and {c} in a row", "{a}, then {b}, then {c}")
ALIKE = {
    "beside": ("two {s} side by side", "two {s} next to each other", "two {s}", "a pair of {s}"),
    "above": ("two {s} one above the other", "two {s} on top of each other"),
    "row": ("three {s} in a row", "three {s} side by side", "three {s}"),
}
OPENINGS = ("", "", "", "", "a picture of ", "a drawing of ")


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

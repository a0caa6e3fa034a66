"""Does a picture show what its prompt asks for? The checker looks, these rules compare."""

from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

from experiments.tiny.checker import Checker, look
from experiments.tiny.scenes import GRID

Found = dict[int, tuple[str, str, str]]  # cell -> shape, colour, fill


def is_right(entry: dict, found: Found, with_fill: bool = False) -> bool:
    """Whether exactly the asked objects are seen, where the prompt puts them.

    A single object must stand in its cell. Of several, the prompt names the order only: from left to right for "beside"
    and "row", from top to bottom for "above".

    Args:
        entry: A line of a suite, see `experiments.tiny.suites`.
        found: What the checker sees.
        with_fill: Also compare plain, striped and dotted.
    """
    keys = ("shape", "colour", "fill") if with_fill else ("shape", "colour")
    asked = [tuple(thing[key] for key in keys) for thing in entry["objects"]]
    cells = sorted(found, key=lambda cell: cell // GRID if entry["layout"] == "above" else cell % GRID)
    if [found[cell][: len(keys)] for cell in cells] != asked:
        return False
    if entry["layout"] == "single":
        row, column = entry["objects"][0]["cell"]
        return cells == [row * GRID + column]
    lines = [cell // GRID if entry["layout"] == "above" else cell % GRID for cell in cells]
    return len(set(lines)) == len(lines)


def shares(checker: Checker, entries: Sequence[dict], pictures: Tensor) -> dict[str, float]:
    """Share of right pictures: by category, over all ("all"), and over all with fills compared too ("all, fills").

    Args:
        checker: Trained on drawn scenes.
        entries: B lines of a suite.
        pictures: (B, 3, H, W) in [-1, 1], one per entry.
    """
    hits: dict[str, list[bool]] = defaultdict(list)
    for entry, found in zip(entries, look(checker, pictures), strict=True):
        right = is_right(entry, found)
        hits[entry["category"]].append(right)
        hits["all"].append(right)
        hits["all, fills"].append(is_right(entry, found, with_fill=True))
    return {name: sum(values) / len(values) for name, values in hits.items()}

"""Does a picture or video show what its prompt asks for? The checker looks, these rules compare."""

import random
from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity

from embedded.judging.checker import Checker, look, middle_frame
from embedded.world.draw import draw_videos
from embedded.world.scenes import GRID, MOTIONS, SIZES, Scene, Thing

STILL = 0.4  # of the smallest change that a motion makes

Found = dict[int, tuple[str, str, str]]  # cell -> shape, colour, fill


def is_right(entry: dict, found: Found, with_fill: bool = False) -> bool:
    """Whether exactly the asked objects are seen, where the prompt puts them.

    A single object must stand in its cell. Of several, the prompt names the order only: from left to right for "beside"
    and "row", from top to bottom for "above".

    Args:
        entry: A line of a suite, see `embedded.world.prompt_suites`.
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


def seen_motion(entry: dict, video: Tensor) -> str:
    """The motion of which a drawing changes most like this video.

    It draws what the prompt asks for in every motion and size, and compares by cosine what changes from the first to
    the last frame. A video that changes much less than all of these stands still.

    Args:
        entry: A line of a suite.
        video: (3, T, H, W) in [-1, 1].
    """
    moving = [name for name in MOTIONS if name != "still"]
    scenes = [Scene(_things(entry, size), entry["background"], name) for size in SIZES for name in moving]
    drawn = _change(draw_videos(scenes, seed=0, num_frames=2)).view(len(SIZES), len(moving), -1)
    change = _change(video[None])[0]
    if change.norm() < STILL * drawn.norm(dim=-1).min():
        return "still"
    return moving[int(cosine_similarity(drawn, change, dim=-1).amax(0).argmax())]


def motion_on_drawn(entries: Sequence[dict], num_frames: int) -> float:
    """Share of drawn videos of the entries, in a size chosen at random, whose motion `seen_motion` names."""
    rng = random.Random(0)
    scenes = [Scene(_things(e, rng.choice(SIZES)), e["background"], e["motion"]) for e in entries]
    videos = draw_videos(scenes, seed=1, num_frames=num_frames)
    return sum(seen_motion(e, v) == e["motion"] for e, v in zip(entries, videos, strict=True)) / len(entries)


def _things(entry: dict, size: str) -> tuple[Thing, ...]:
    """What the prompt asks for, in this size where it names none."""
    return tuple(
        Thing(
            shape=thing["shape"],
            colour=thing["colour"],
            row=thing["cell"][0],
            column=thing["cell"][1],
            size=thing["size"] or size,
            fill=thing["fill"],
        )
        for thing in entry["objects"]
    )


def _change(videos: Tensor) -> Tensor:
    """From the first to the last frame of videos (B, 3, T, H, W), coarse: (B, 768)."""
    return adaptive_avg_pool2d(videos[:, :, -1] - videos[:, :, 0], 16).flatten(1)


def shares(checker: Checker, entries: Sequence[dict], pictures: Tensor) -> dict[str, float]:
    """Share of right pictures: by category, over all ("all"), and over all with fills compared too ("all, fills").

    Args:
        checker: Trained on drawn scenes.
        entries: B lines of a suite.
        pictures: (B, 3, H, W) in [-1, 1], one per entry; or videos (B, 3, T, H, W), whose middle frame is looked at,
            and whose motion makes a share of its own ("motion").
    """
    hits: dict[str, list[bool]] = defaultdict(list)
    for entry, found in zip(entries, look(checker, middle_frame(pictures)), strict=True):
        right = is_right(entry, found)
        hits[entry["category"]].append(right)
        hits["all"].append(right)
        hits["all, fills"].append(is_right(entry, found, with_fill=True))
    if pictures.dim() == 5:
        hits["motion"] = [seen_motion(e, video) == e["motion"] for e, video in zip(entries, pictures, strict=True)]
    return {name: sum(values) / len(values) for name, values in hits.items()}

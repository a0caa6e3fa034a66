"""Which share of pictures or videos shows what its prompt asks for."""

import random
from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

from eval.scene.checker import Checker, look, middle_frame
from eval.scene.draw import draw_videos
from eval.scene.judge import is_right, seen_motion, things_of
from eval.scene.world import SIZES, Scene


def motion_on_drawn(entries: Sequence[dict], num_frames: int) -> float:
    """Share of drawn videos of the entries, in a size chosen at random, whose motion `seen_motion` names."""
    rng = random.Random(0)
    scenes = [Scene(things_of(e, rng.choice(SIZES)), e["background"], e["motion"]) for e in entries]
    videos = draw_videos(scenes, seed=1, num_frames=num_frames)
    return sum(seen_motion(e, v) == e["motion"] for e, v in zip(entries, videos, strict=True)) / len(entries)


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

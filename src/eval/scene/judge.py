"""Does a picture or video show what its prompt asks for? The checker looks, these rules compare."""

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity

from eval.scene.checker import Found
from eval.scene.draw import draw_videos
from eval.scene.world import GRID, MOTIONS, SIZES, Scene, Thing

STILL = 0.4  # of the smallest change that a motion makes


def is_right(entry: dict, found: Found, with_fill: bool = False) -> bool:
    """Whether exactly the asked objects are seen, where the prompt puts them.

    A single object must stand in its cell. Of several, the prompt names the order only: from left to right for "beside"
    and "row", from top to bottom for "above".

    Args:
        entry: What `eval.scene.prompts.read_prompt` says of the prompt, or a line of a suite.
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
        entry: As of `is_right`.
        video: (3, T, H, W) in [-1, 1].
    """
    moving = [name for name in MOTIONS if name != "still"]
    background = entry["background"] or "gray"  # it stands still, so whichever it is says little
    scenes = [Scene(things_of(entry, size), background, name) for size in SIZES for name in moving]
    drawn = _change(draw_videos(scenes, seed=0, num_frames=2)).view(len(SIZES), len(moving), -1)
    change = _change(video[None])[0]
    if change.norm() < STILL * drawn.norm(dim=-1).min():
        return "still"
    return moving[int(cosine_similarity(drawn, change, dim=-1).amax(0).argmax())]


def things_of(entry: dict, size: str) -> tuple[Thing, ...]:
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

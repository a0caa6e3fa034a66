"""How steady a video is: the temporal flickering of VBench (Huang et al., CVPR 2024), computed from lossless frames.

VBench takes it over videos of prompts that ask for a still scene; of others it also counts their motion, so compare it
with the reference run's.
"""

from torch import Tensor


def temporal_flickering(videos: Tensor) -> Tensor:
    """One minus the mean absolute change of a pixel from frame to frame; 1 for a frozen video. (B, T, 3, H, W) -> (B,)

    Raises:
        ValueError: not videos of at least two frames.
    """
    if videos.ndim != 5 or videos.shape[1] < 2:
        raise ValueError(
            f"temporal_flickering needs videos (B, T, 3, H, W) of at least two frames, got {tuple(videos.shape)}; "
            "use metrics=fidelity for pictures"
        )
    return 1 - (videos[:, 1:] - videos[:, :-1]).abs().flatten(1).mean(dim=1)

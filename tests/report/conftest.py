from pathlib import Path

import pytest

from meancache.plan import Plan
from meancache.schedule import Schedule
from tests.finished_runs import STEPS, make_run


@pytest.fixture(scope="session")
def output(tmp_path_factory) -> Path:
    """A reference and two runs of it: pictures."""
    folder = tmp_path_factory.mktemp("pictures") / "tiny"
    full = make_run(folder, "tiny-full-0", "Original: 8 steps")
    plan = Plan("tiny", Schedule([1 - step / STEPS for step in range(STEPS + 1)]), (0, 1, 4), (1, 1, 3))
    make_run(
        folder,
        "tiny-fast-a",
        "Fast A",
        tint=30,
        steps=(1, 0.5, 0, 1, 0, 0, 1, 0),
        reference=full,
        scores={"psnr": [30.0, 20.0, "inf", 40.0], "st_lpips": [0.5, 0.1, 0.0, 0.2]},
    )
    make_run(
        folder,
        "tiny-fast-b",
        "Fast B with many settings (release, displacement, γ=4)",
        tint=60,
        steps=None,
        plan=plan,
        reference=full,
        scores={"psnr": [25.0, 26.0, 27.0, 28.0], "st_lpips": [0.1, 0.2, 0.3, 0.4]},
    )
    return folder


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """A reference and a run of it: videos."""
    folder = tmp_path_factory.mktemp("videos") / "tiny_video"
    steady = {"temporal_flickering": [0.9, 0.5, 0.8, 0.7]}
    full = make_run(folder, "tiny_video-full-0", "Original: 8 steps", frames=16, side=64, scores=steady)
    scores = {"psnr": [30.0, 20.0, 25.0, 40.0], "temporal_flickering": [0.8, 0.5, 0.9, 0.4]}
    make_run(folder, "tiny_video-fast-a", "Fast", frames=16, side=64, tint=40, reference=full, scores=scores)
    return folder

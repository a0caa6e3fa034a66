import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meancache.media import mp4, png
from meancache.plan import Plan
from meancache.run_folder import RunFolder
from meancache.schedule import Schedule

STEPS = 8
Make = Callable[..., RunFolder]


@pytest.fixture(scope="session")
def make_run(tmp_path_factory) -> Make:
    """Writes a finished run ``name`` into ``output``; with a reference and scores by metric, an evaluated one."""
    return _make_run


def _make_run(
    output: Path,
    name: str,
    label: str,
    *,
    count: int = 4,
    side: int = 48,
    frames: int | None = None,
    tint: int = 0,
    steps: Sequence[float] | None = (1,) * STEPS,
    reference: RunFolder | None = None,
    scores: dict[str, list[float | str]] | None = None,
    plan: Plan | None = None,
) -> RunFolder:
    run = RunFolder(output / "runs" / name)
    store = run.store(is_video=frames is not None)
    method = "full" if reference is None else "fast"
    config = f"label: {json.dumps(label)}\nmethod: {{name: {method}}}\nmodel: {{name: {output.name}}}\n"
    store.samples.mkdir(parents=True)
    run.describe(config, {}, plan.to_json() if plan else None)
    for index in range(count):
        shown = [_picture(side, index, tint, shift) for shift in range(frames or 1)]
        facts = {
            "prompt_index": index,
            "prompt": f"a <b>bold</b> disc & number {index}",
            "category": "even" if index % 2 == 0 else "odd",
            "seed": 3,
            "noise_seed": index,
            "nfe": sum(steps) if steps else 4,
            "denoiser_calls": 4,
            "batch_size": 1,
            "device": "a processor",
            "peak_memory_mib": 100.0,
            "flops": {"denoiser": 1e12, "pipeline": 1e12 * (1 + (sum(steps) if steps else 4))},
            **({"num_frames": frames} if frames else {}),
            **({"steps": list(steps)} if steps else {}),
        }
        video = mp4(shown, fps=8) if frames else b""
        run.put(f"{index:05d}-3", png(shown if frames else shown[0]), video, **facts)
    assert store.finish([f"{index:05d}-3" for index in range(count)])
    if reference is not None:
        run.write("metrics.json", json.dumps(_metrics(run, reference, scores or {})))
    return run


def _metrics(run: RunFolder, reference: RunFolder, scores: dict[str, list[float | str]]) -> dict:
    names = [record.sample for record in run.records()]
    entries = {}
    for name, values in scores.items():
        finite = [value for value in values if value != "inf"]
        entries[name] = {
            "value": sum(finite) / len(finite),
            "n": len(values),
            "per_sample": dict(zip(names, values)),
            "provenance": f"{name} of a test",
        }
    hashes = {"run": run.hash_records(), "reference": reference.hash_records()}
    return {"reference": reference.name, "records": hashes, "metrics": entries}


def _picture(side: int, index: int, tint: int, shift: int) -> Image.Image:
    rows, columns = np.mgrid[0:side, 0:side] / side
    disc = (rows - 0.5) ** 2 + (columns - 0.3 - 0.05 * shift) ** 2 < 0.05
    pixels = np.stack([rows * 255, columns * 255, disc * 255], axis=-1) * (1 - index % 5 / 20) + tint
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def output(tmp_path_factory, make_run) -> Path:
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
def videos(tmp_path_factory, make_run) -> Path:
    """A reference and a run of it: videos."""
    folder = tmp_path_factory.mktemp("videos") / "tiny_video"
    full = make_run(folder, "tiny_video-full-0", "Original: 8 steps", frames=16, side=64)
    scores = {"psnr": [30.0, 20.0, 25.0, 40.0]}
    make_run(folder, "tiny_video-fast-a", "Fast", frames=16, side=64, tint=40, reference=full, scores=scores)
    return folder

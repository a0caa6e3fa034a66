"""Finished runs without a model: pictures or videos of discs, with scores that a test chooses."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from meancache.media import mp4, png
from meancache.plan import Plan
from meancache.run_folder import RunFolder

STEPS = 8


def make_run(
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
    """Writes a finished run ``name`` into ``output``; with scores by metric, an evaluated one."""
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
    if scores is not None:
        run.write("metrics.json", json.dumps(_metrics(run, reference or run, scores)))
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

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval.metrics import find_metrics
from experiments.evaluate import evaluate
from experiments.figures.average_velocity import draw_velocity, hold_errors, jvp_errors
from experiments.figures.grid import CELL, side_by_side
from experiments.figures.plans import draw_plans
from experiments.figures.plans import main as plans_command
from experiments.figures.tradeoff import pareto
from meancache.plan import Plan
from meancache.run_folder import RunFolder
from meancache.schedule import Schedule
from meancache.stability import StabilityMap, edge_costs
from meancache.trajectory import FullTrajectory


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def _shifted(num_steps: int, shift: float = 3.0) -> Schedule:
    even = [1 - step / num_steps for step in range(num_steps + 1)]
    return Schedule([shift * sigma / (1 + (shift - 1) * sigma) for sigma in even])


@pytest.fixture
def trajectory() -> FullTrajectory:
    """Exact flow matching from noise to four points in 16 dimensions, 50 Euler steps with a time shift."""
    schedule = _shifted(50)
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(4, 16, generator=generator)
    latents, velocities = [torch.randn(2, 16, generator=generator)], []
    for step in schedule.steps():
        x, sigma = latents[-1], step.sigma
        away = (x[:, None] - (1 - sigma) * points).square().sum(-1)
        clean = torch.softmax(-away / (2 * sigma**2), dim=-1) @ points
        velocities.append((x - clean) / sigma)
        latents.append(x + step.dsigma * velocities[-1])
    return FullTrajectory(schedule, torch.stack(latents), torch.stack(velocities))


def _write_run(run: Path, seed: int, num_prompts: int, side: int, label: str) -> RunFolder:
    (run / "samples").mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    lines = []
    for index in range(num_prompts):
        file = run / "samples" / f"{index:05d}-0.png"
        pixels = torch.rand(4, 4, 3, generator=generator).mul(255).byte().numpy()
        Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).save(file)
        record = {
            "sample": file.stem,
            "prompt_index": index,
            "prompt": f"a large striped red circle above a small blue star, number {index}, on a night sky",
            "category": "",
            "seed": 0,
            "noise_seed": 0,
            "file": f"samples/{file.name}",
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "nfe": 10,
            "denoiser_calls": 10,
            "flops": None,
            "batch_size": 1,
            "device": "a processor",
            "peak_memory_mib": 1.0,
        }
        lines.append(json.dumps(record) + "\n")
    (run / "records.jsonl").write_text("".join(lines))
    (run / "config.yaml").write_text(f"label: {json.dumps(label)}\nmethod: {{name: a}}\nmodel: {{name: tiny}}\n")
    (run / "DONE").touch()
    return RunFolder(run)


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_grid_has_a_column_a_run_and_a_row_a_prompt(tmp_path):
    reference = _write_run(tmp_path / "full", 0, 5, 64, "Original: 50 steps")
    run = _write_run(tmp_path / "fast", 1, 5, 64, "MeanCache (B=10)")
    evaluate(run, reference, find_metrics(["psnr"]))
    side_by_side([reference, run], tmp_path / "new" / "grid.png", limit=3)
    pixels = _pixels(tmp_path / "new" / "grid.png")
    assert 3 * CELL < pixels.shape[0] < 4 * CELL
    assert 2 * CELL < pixels.shape[1] < 4 * CELL
    expected = _pixels(run.path / "samples" / "00003-0.png")  # the third of 0, 1, 3: spread evenly over five
    block = pixels[-8 - CELL : -8, -8 - CELL : -8]
    assert np.array_equal(block[2::4, 2::4], expected)


@pytest.mark.parametrize("side", [48, 300])
def test_small_pictures_are_enlarged_and_large_ones_reduced(tmp_path, side):
    reference = _write_run(tmp_path / "full", 0, 1, side, "Original")
    side_by_side([reference], tmp_path / "grid.png")
    height, width, _ = _pixels(tmp_path / "grid.png").shape
    assert 192 < height < 400
    assert 392 < width < 600


def test_the_grid_refuses_what_it_cannot_show(tmp_path):
    reference = _write_run(tmp_path / "full", 0, 2, 64, "Original")
    run = _write_run(tmp_path / "fast", 1, 2, 64, "MeanCache")
    with pytest.raises(ValueError, match="is not evaluated"):
        side_by_side([reference, run], tmp_path / "grid.png")
    with pytest.raises(ValueError, match="at least 1 row"):
        side_by_side([reference], tmp_path / "grid.png", limit=0)
    path = run.path / "records.jsonl"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 9'))
    with pytest.raises(ValueError, match="no prompt and seed"):
        side_by_side([reference, run], tmp_path / "grid.png")


def test_plans_are_drawn_with_a_colour_a_span(tmp_path):
    plans = [
        Plan("tiny", _shifted(20), (0, 1, 2, 5, 10), (1, 1, 2, 3, 4), gamma=4.0),
        Plan("tiny", _shifted(10), (0, 4), (0, 2)),
    ]
    draw_plans(plans, tmp_path / "plans.png")
    pixels = _pixels(tmp_path / "plans.png")
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    common = {tuple(colour.tolist()) for colour, count in zip(colours, counts) if count > 200}
    assert (228, 228, 228) in common  # skipped
    blues = [colour for colour in common if colour[2] > colour[0] + 20]
    assert len(blues) == 4  # hold, K = 2, 3, 4


def test_the_plans_command_plans_and_draws(tmp_path, trajectory):
    spans = (1, 2, 3)
    stability = StabilityMap("tiny", trajectory.schedule, spans, ("a", "b"), edge_costs(trajectory, spans))
    (tmp_path / "map.safetensors").write_bytes(stability.to_bytes())
    out = tmp_path / "plans.png"
    plans_command([f"map={tmp_path / 'map.safetensors'}", "budgets=10,20", "spans=2,3", f"out={out}"])
    assert _pixels(out).std() > 10
    with pytest.raises(ValueError, match="budget"):
        plans_command([f"map={tmp_path / 'map.safetensors'}", "budgets=99", "spans=2,3", f"out={out}"])


def test_errors_of_the_velocity_figure_are_those_of_equation_13(trajectory):
    costs = edge_costs(trajectory, (1, 3)).mean(0)
    lengths = range(2, 8)
    assert hold_errors(trajectory, 12, lengths) == pytest.approx(costs[0, 12, 14:20].numpy(), rel=1e-3)
    assert jvp_errors(trajectory, 12, lengths, span=3) == pytest.approx(costs[1, 12, 14:20].numpy(), rel=1e-3)


def test_a_straight_trajectory_has_no_error():
    schedule = _shifted(10)
    velocity = torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
    latents = torch.stack([sigma * velocity for sigma in schedule.sigmas])
    straight = FullTrajectory(schedule, latents, velocity.expand(10, 1, 8))
    assert hold_errors(straight, 6, range(1, 5)).max() < 1e-5
    assert jvp_errors(straight, 6, range(1, 5), span=4).max() < 1e-4


@pytest.mark.parametrize("num_steps", [50, 7, 2, 1])
def test_the_velocity_figure_is_drawn_for_any_grid(tmp_path, trajectory, num_steps):
    schedule = Schedule(trajectory.sigmas[: num_steps + 1])
    short = FullTrajectory(schedule, trajectory.latents[: num_steps + 1], trajectory.velocities[:num_steps])
    draw_velocity(short, tmp_path / "velocity.png")
    pixels = _pixels(tmp_path / "velocity.png")
    assert pixels.shape[1] > 2 * pixels.shape[0]
    assert math.isfinite(pixels.std())
    assert pixels.std() > 10


def test_the_pareto_front_is_what_no_other_point_beats():
    points = [(1.0, 30.0), (2.0, 29.0), (2.0, 35.0), (3.0, 35.0), (4.0, 40.0)]
    assert pareto(points, higher_is_better=True) == [(1.0, 30.0), (2.0, 35.0), (4.0, 40.0)]
    assert pareto(points, higher_is_better=False) == [(1.0, 30.0), (2.0, 29.0)]

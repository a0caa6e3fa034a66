"""Measure an exported model and write its card: `python -m embedded.card model=tiny_flux`.

Needs the training's `output` folder, where the stages' step counts are read.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embedded.families.registry import family
from embedded.judging.checker import accuracy
from embedded.judging.gallery import sample, sheet
from embedded.judging.judge import motion_on_drawn, shares
from embedded.judging.readme import write_readme
from embedded.training.loop import stage_progress
from embedded.training.options import TinyConfig, read_options
from embedded.training.pictures import unseen_pictures
from embedded.training.text import reading_accuracy
from embedded.training.vae import reconstruction_psnr
from embedded.world.prompt_suites import load_suite
from eval.fidelity import psnr
from eval.scene.checker import load_checker, middle_frame
from experiments.errors import run_program

SEEDS = (0, 1000)
CHECKED = 1000
RECONSTRUCTED = 200
GRID_PROMPTS = 24
FLOOR_PROMPTS = 32


def load_pipeline(config: TinyConfig) -> Any:
    """The exported model, as a user loads it."""
    pipe = family(config).pipeline.from_pretrained(config.export_to)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def render(pipe: Any, prompts: list[str], config: TinyConfig, **options: Any) -> Tensor:
    """Pictures or videos (B, 3, [T,] H, W) in [0, 1]."""
    pictures = torch.stack(sample(pipe, prompts, config, output_type="pt", **options))
    return pictures.transpose(1, 2) if config.is_video else pictures


def mean_psnr(pictures: Tensor, others: Tensor) -> float:
    """Mean over pairs of the PSNR in dB, of a video over all its frames at once. (B, 3, [T,] H, W) in [0, 1]"""
    return psnr(pictures.flatten(2, -2), others.flatten(2, -2)).mean().item()


def measure(config: TinyConfig) -> dict:
    """All numbers of the card."""
    kind, pipe, checker = family(config), load_pipeline(config), load_checker()
    entries = load_suite(suite_name(config))
    prompts = [entry["prompt"] for entry in entries]
    by_seed = {seed: render(pipe, prompts, config, seed=seed) for seed in SEEDS}
    sweep = {g: render(pipe, prompts, config, guidance=g) for g in kind.guidances if g != kind.guidance}
    sweep[kind.guidance] = by_seed[SEEDS[0]]
    long = render(pipe, prompts[:FLOOR_PROMPTS], config, seed=SEEDS[0], steps=200)
    return {
        "training": {name: stage_progress(config.folder / f"{name}.pt") for name in stages(config)},
        "parameters": {name: _size(getattr(pipe, name)) for name in _parts(config)},
        "text_reading": {part.name: reading_accuracy(config, part) for part in kind.texts},
        "vae_psnr": reconstruction_psnr(config, pipe.vae, RECONSTRUCTED),
        "checker_on_drawn": _checked(config),
        **({"motion_on_drawn": motion_on_drawn(entries, config.num_frames)} if config.is_video else {}),
        "suite": shares(checker, entries * len(SEEDS), torch.cat(list(by_seed.values())) * 2 - 1),
        "suite_by_guidance": {str(g): shares(checker, entries, sweep[g] * 2 - 1)["all"] for g in kind.guidances},
        "psnr_50_to_200": mean_psnr(by_seed[SEEDS[0]][:FLOOR_PROMPTS], long),
        "counts": {
            "suite": len(entries) * len(SEEDS),
            "floor": FLOOR_PROMPTS,
            "checked": CHECKED,
            "reconstructed": RECONSTRUCTED,
        },
        "hardware": f"{hardware()}, torch {torch.__version__}",
    }


def _checked(config: TinyConfig) -> dict[str, float]:
    """How much the checker names right on new drawn scenes."""
    scenes, pictures = unseen_pictures(config, CHECKED)
    return accuracy(load_checker(), scenes, middle_frame(pictures))


def hardware() -> str:
    """The machine in a few words."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"


def suite_name(config: TinyConfig) -> str:
    """The prompts that the model is judged by."""
    return "videos" if config.is_video else "scenes"


def _parts(config: TinyConfig) -> list[str]:
    return ["transformer", "vae", *(part.module for part in family(config).texts)]


def stages(config: TinyConfig) -> list[str]:
    """The trained parts whose steps and minutes the card tells."""
    distil = ["distil"] if family(config).distilled else []
    images = ["images"] if config.is_video else []
    return [*(part.name for part in family(config).texts), "vae", *images, "flow", *distil, "decoder"]


def _size(module: torch.nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def write_grid(config: TinyConfig) -> None:
    """`grid.png`: every few prompts of the suite, at the default guidance."""
    pipe, entries = load_pipeline(config), load_suite(suite_name(config))
    prompts = [entry["prompt"] for entry in entries][:: len(entries) // GRID_PROMPTS][:GRID_PROMPTS]
    sheet(sample(pipe, prompts, config), prompts).save(Path(config.export_to) / "grid.png")


def main(arguments: list[str]) -> None:
    """Measure, draw the grid, and write the card beside the weights."""
    config = read_options(arguments)
    torch.set_num_threads(1 if config.device == "cpu" else 8)
    metrics = measure(config)
    text = json.dumps(metrics, indent=2)
    (Path(config.export_to) / "metrics.json").write_text(text + "\n")
    write_grid(config)
    write_readme(config, metrics)
    print(text)


if __name__ == "__main__":
    run_program(main)

"""Measure a distilled student beside its teacher and write its card: `python -m embedded.student_card`."""

import json
from typing import Any

import torch
from diffusers import AutoModel
from torch import Tensor

from embedded.card import load_pipeline, mean_psnr, render
from embedded.families.registry import family
from embedded.judging.judge import shares
from embedded.judging.readme import TEMPLATES
from embedded.students import GRIDS, TEACHER_STEPS, student_folder
from embedded.training.options import TinyConfig, read_options
from embedded.world.prompt_suites import load_suite
from eval.scene.checker import load_checker
from experiments.errors import run_program

TEACHER, STUDENT = "teacher", "student"


def measure(config: TinyConfig) -> list[dict[str, Any]]:
    """A row for the teacher's 50 steps, and for teacher and student at the student's numbers of steps."""
    entries = load_suite("scenes")
    prompts = [entry["prompt"] for entry in entries]
    checker, pipe = load_checker(), load_pipeline(config)
    pictures = {(TEACHER, steps): render(pipe, prompts, config, steps=steps) for steps in (50, *GRIDS)}
    pipe.transformer = AutoModel.from_pretrained(str(student_folder(config)))
    pictures |= {(STUDENT, steps): render(pipe, prompts, config, steps=steps, guidance=1.0) for steps in GRIDS}
    reference = pictures[TEACHER, 50]

    def row(who: str, steps: int, drawn: Tensor) -> dict[str, Any]:
        psnr = None if drawn is reference else mean_psnr(drawn, reference)
        calls = steps if who == STUDENT else 2 * steps
        right = shares(checker, entries, drawn * 2 - 1)["all"]
        return {"denoiser": who, "steps": steps, "calls": calls, "right": right, "psnr": psnr}

    return [row(*key, drawn) for key, drawn in pictures.items()]


def write_card(config: TinyConfig, rows: list[dict[str, Any]]) -> None:
    """`README.md` and `metrics.json` beside the student's weights."""
    folder = student_folder(config)
    lines = [
        f"| {row['denoiser']} | {row['steps']} | {row['calls']} | {row['right']:.1%} | "
        f"{'-' if row['psnr'] is None else format(row['psnr'], '.2f')} |"
        for row in rows
    ]
    values = json.loads((folder / "training.json").read_text()) | {
        "grids": " and ".join(map(str, GRIDS)),
        "few": min(GRIDS),
        "many": max(GRIDS),
        "teacher_steps": TEACHER_STEPS,
        "guidance": family(config).guidance,
        "rows": "\n".join(lines),
    }
    (folder / "metrics.json").write_text(json.dumps(rows, indent=2) + "\n")
    template = TEMPLATES / f"{config.model}_distil.md"
    (folder / "README.md").write_text(template.read_text().format(**values))


def main(arguments: list[str]) -> None:
    """Entry point."""
    config = read_options(arguments or ["model=tiny_qwen"])
    torch.set_num_threads(1 if config.device == "cpu" else 8)
    write_card(config, measure(config))


if __name__ == "__main__":
    run_program(main)

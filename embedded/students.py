"""Step distillation, to compare caching with (Table 5): `python -m embedded.students model=tiny_qwen`.

A student starts as the trained denoiser and learns to make a whole step of a 10- or 15-step grid in one call without
guidance: its velocity is the mean guided velocity of the teacher over that step, as in progressive distillation
(Salimans and Ho, arXiv 2202.00512). Needs the teacher's training folder.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embedded.card import hardware
from embedded.families.family import Conditions
from embedded.families.registry import family
from embedded.training.export import trained_transformer
from embedded.training.flow import Batches, Velocity, spread
from embedded.training.loop import Fit, Trainer
from embedded.training.options import TinyConfig, read_options
from experiments.errors import run_program

GRIDS = (10, 15)
TEACHER_STEPS = 4  # in one of the student's


def sigma_grids(config: TinyConfig) -> list[Tensor]:
    """Noise levels (num_steps + 1,) of the student's grids, made by the pipeline's own scheduler."""
    grids = []
    for num_steps in GRIDS:
        scheduler: Any = family(config).build_scheduler()
        mu = scheduler.config.max_shift  # our token count is the largest that the scheduler knows
        scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / num_steps, num_steps).tolist(), mu=mu)
        grids.append(scheduler.sigmas.cpu().float())
    return grids


def student_trainer(config: TinyConfig) -> Trainer:
    """The student, from the teacher's averaged weights or resumed where it was left."""
    fit = Fit(
        name="student",
        minutes=config.student_minutes,
        steps=config.student_steps,
        lr=config.distil_lr,
        seed=config.seed,
        ema=config.distil_ema,
        checkpoint_minutes=config.checkpoint_minutes,
    )
    student = trained_transformer(config).train().requires_grad_(True)
    return Trainer(student, fit, config.folder, config.device, alone=True)


def train_student(config: TinyConfig) -> Trainer:
    """Train to the end of the budget.

    Raises:
        ValueError: The teacher's guidance is not two calls a step.
    """
    if family(config).distilled:
        raise ValueError(f"{config.model} has guidance distilled already; a student is taught by model=tiny_qwen")
    trainer, batches, grids = student_trainer(config), Batches(config), sigma_grids(config)
    student = Velocity(trainer.module, batches)
    teacher = Velocity(trained_transformer(config), batches)
    nothing = batches.prompts([batches.family.nothing] * config.flow_batch)

    def loss_of(generator: torch.Generator) -> Tensor:
        clean, told = batches.draw(config.flow_batch, generator)
        start, end = (sigmas.to(clean) for sigmas in _steps(grids, len(clean), generator))
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        latents = torch.lerp(clean, noise, spread(start, clean))
        with torch.no_grad():
            target = average_velocity(teacher, latents, start, end, told, nothing, batches.family.guidance)
        return (student(latents, start, torch.ones_like(start), told) - target).square().mean()

    trainer.run(loss_of)
    return trainer


def _steps(grids: list[Tensor], count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise levels where random steps of random grids begin and end, (B,) each."""
    pairs = []
    for _ in range(count):
        grid = grids[int(torch.randint(len(grids), (), generator=generator))]
        step = int(torch.randint(len(grid) - 1, (), generator=generator))
        pairs.append(grid[step : step + 2])
    start, end = torch.stack(pairs).unbind(1)
    return start, end


def average_velocity(
    teacher: Velocity, latents: Tensor, start: Tensor, end: Tensor, told: Conditions, nothing: Conditions, scale: float
) -> Tensor:
    """The mean guided velocity of the teacher on its way from one noise level to another, in Euler steps.

    Args:
        teacher: The denoiser.
        latents: (B, tokens, C) at noise levels ``start``.
        start: (B,).
        end: (B,).
        told: What the denoiser is told of the prompts.
        nothing: Of as many empty prompts.
        scale: Guidance.
    """
    x, length = latents, (end - start) / TEACHER_STEPS
    for k in range(TEACHER_STEPS):
        sigmas = start + k * length
        one = torch.ones_like(sigmas)
        cond, uncond = teacher(x, sigmas, one, told), teacher(x, sigmas, one, nothing)
        guided = uncond + scale * (cond - uncond)
        guided = guided * cond.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True)  # as the pipeline does
        x = x + spread(length, x) * guided
    return (x - latents) / spread(end - start, x)


def student_folder(config: TinyConfig) -> Path:
    """Where the student's weights go, beside the teacher's."""
    return Path(f"{config.export_to}_distil")


def export_student(config: TinyConfig, trainer: Trainer) -> Path:
    """Write the averaged weights in half precision as a folder for `model.transformer`, with the training's facts."""
    trainer.copy_average()
    folder = student_folder(config)
    trainer.module.eval().half().save_pretrained(folder, safe_serialization=True)
    facts = {
        "steps": trainer.step,
        "minutes": round(trainer.elapsed / 60, 1),
        "batch": config.flow_batch,
        "hardware": f"{hardware()}, torch {torch.__version__}",
    }
    (folder / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
    return folder


def main(arguments: list[str]) -> None:
    """Entry point."""
    config = read_options(arguments)
    torch.set_num_threads(1 if config.device == "cpu" else 8)
    print(export_student(config, train_student(config)))


if __name__ == "__main__":
    run_program(main)

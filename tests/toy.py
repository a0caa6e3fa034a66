"""A pipeline small enough to see through: a smooth field as denoiser, real schedulers, habits of real pipelines."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn


class Denoiser(nn.Module):
    """dz/dsigma as a smooth function of latents and noise level; counts its calls."""

    def __init__(self, field: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.field = field or (lambda z, sigma: torch.sin(2 * z + 3 * sigma) + z)
        self.calls = 0

    def forward(self, hidden_states: Tensor, timestep: Tensor) -> Tensor:
        self.calls += 1
        return self.field(hidden_states, timestep / 1000)


class Toy:
    """``pipe(num_steps)`` gives the final latents.

    Args:
        loop: how the pipeline takes a step: (pipe, timestep, latents) -> latents.
        begin: index of the first step, as img2img begins inside the grid.
        announces: it tells its scheduler so, as most pipelines do.
        scheduler: its solver.
        field: its denoiser's.
    """

    def __init__(
        self,
        loop: Callable[["Toy", Tensor, Tensor], Tensor] | None = None,
        *,
        begin: int = 0,
        announces: bool = True,
        scheduler: Any = None,
        field: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        self.scheduler = scheduler or FlowMatchEulerDiscreteScheduler(shift=3.0)
        self.transformer = Denoiser(field)
        self.device = torch.device("cpu")
        self.loop, self.begin, self.announces = loop or plain, begin, announces

    def __call__(self, num_steps: int = 12, rows: int = 2) -> Tensor:
        self.scheduler.set_timesteps(num_steps)
        latents = torch.randn(rows, 8, generator=torch.Generator().manual_seed(0))
        if self.begin and self.announces:
            self.scheduler.set_begin_index(self.begin)
        for timestep in self.scheduler.timesteps[self.begin :]:
            latents = self.loop(self, timestep, latents)
        return latents

    def velocity(self, timestep: Tensor, latents: Tensor) -> Tensor:
        return self.transformer(hidden_states=latents, timestep=timestep.expand(len(latents))[:, None])


def plain(pipe: Toy, timestep: Tensor, latents: Tensor) -> Tensor:
    return pipe.scheduler.step(pipe.velocity(timestep, latents), timestep, latents, return_dict=False)[0]


def in_place(pipe: Toy, timestep: Tensor, latents: Tensor) -> Tensor:
    """Kandinsky 5: the next latents go into the same tensor."""
    latents[:] = plain(pipe, timestep, latents)
    return latents


def per_token(pipe: Toy, timestep: Tensor, latents: Tensor) -> Tensor:
    """LTX with conditions: every token has a time of its own, and the sign is the other."""
    times, tokens = timestep.expand(1, latents.numel()), latents.reshape(1, -1, 1)
    velocity = pipe.velocity(timestep, latents).reshape(tokens.shape)
    moved = pipe.scheduler.step(-velocity, timestep, tokens, per_token_timesteps=times, return_dict=False)[0]
    return moved.reshape(latents.shape)


def upwards(pipe: Toy, timestep: Tensor, latents: Tensor) -> Tensor:
    """Mochi: sigmas rise from 0 to 1, so that the velocity has the other sign."""
    velocity = pipe.velocity(1000 - timestep, latents)
    return pipe.scheduler.step(-velocity, timestep, latents, return_dict=False)[0]


def with_audio(pipe: Toy, timestep: Tensor, latents: Tensor) -> Tensor:
    """LTX-2: the second row is audio, stepped by a copy of the scheduler."""
    if pipe.scheduler.step_index is None:
        pipe.audio_scheduler = deepcopy(pipe.scheduler)
    velocity = pipe.velocity(timestep, latents)
    video = pipe.scheduler.step(velocity[:1], timestep, latents[:1], return_dict=False)[0]
    audio = pipe.audio_scheduler.step(velocity[1:], timestep, latents[1:], return_dict=False)[0]
    return torch.cat([video, audio])

"""What the session must know of a pipeline's scheduler: that it solves the flow's ODE, on which grid, and from where.

Every method here replaces the velocity of an ODE. A sampler that adds noise at each step goes another way from the same
velocity, so nothing that was seen on the way can be reused; such samplers are refused before anything runs.
"""

from typing import Any

import torch
from torch import Tensor

from meancache.schedule import Schedule

EULER = "FlowMatchEulerDiscreteScheduler"
MULTISTEP = ("UniPCMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler")
REFUSED = {
    "FlowMatchLCMScheduler": "adds fresh noise at every step",
    "SCMScheduler": "adds fresh noise at every step",
    "SASolverScheduler": "adds fresh noise at every step",
    "FlowMatchHeunDiscreteScheduler": "calls the denoiser twice a step",
    "DEISMultistepScheduler": "stops before sigma 0 on a flow: its last two noise levels are equal",
    "FlowMapEulerDiscreteScheduler": "moves with average velocities that its own model gives",
    "PiflowScheduler": "moves with a policy that its own model gives, several substeps a call",
}
EULER_TOLERANCE = 0.1  # of the move; bfloat16 rounds single elements by more, but not their mean


def check_solver(pipe: Any) -> None:
    """Raise ValueError, saying why, unless the pipeline's scheduler solves the ODE of a flow step by step."""
    scheduler = getattr(pipe, "scheduler", None)
    kind = type(pipe).__name__
    if scheduler is None:
        raise ValueError(f"{kind} has no scheduler: its denoising steps cannot be seen")
    name = _known_name(scheduler)
    if reason := REFUSED.get(name) or _noise(scheduler) or _not_a_flow(scheduler, name):
        raise ValueError(f"{kind} runs {type(scheduler).__name__}, which {reason}: no velocity can be put in its place")


def _known_name(scheduler: Any) -> str:
    """The name of the scheduler's class, or of the nearest base that is known here."""
    names = [base.__name__ for base in type(scheduler).__mro__]
    return next((name for name in names if name in (EULER, *MULTISTEP, *REFUSED)), names[0])


def _noise(scheduler: Any) -> str | None:
    config = scheduler.config
    if config.get("stochastic_sampling"):
        return "adds fresh noise at every step (stochastic_sampling=True)"
    if str(config.get("algorithm_type", "")).startswith("sde"):
        return f"adds fresh noise at every step (algorithm_type={config['algorithm_type']!r})"
    return None


def _not_a_flow(scheduler: Any, name: str) -> str | None:
    if name == EULER:
        return None
    if name not in MULTISTEP:
        return f"is not known to solve a flow step by step (known are {', '.join((EULER, *MULTISTEP))})"
    prediction, flow = scheduler.config.get("prediction_type"), scheduler.config.get("use_flow_sigmas")
    if prediction == "flow_prediction" and flow:
        return None
    return f"solves no flow with prediction_type={prediction!r} and use_flow_sigmas={flow}"


def schedule_of(scheduler: Any) -> Schedule:
    """The noise levels of the grid that was set, falling; of Mochi, whose sigmas rise, one minus them."""
    sigmas = scheduler.sigmas.tolist()
    return Schedule([1 - sigma for sigma in sigmas] if scheduler.config.get("invert_sigmas") else sigmas)


def first_index(scheduler: Any, timestep: Any = None) -> int:
    """The grid index at which the run starts, above 0 for a part of the grid (img2img).

    Args:
        scheduler: its timesteps are set.
        timestep: of the first step, once known; pipelines need not say before where they begin.
    """
    for index in (scheduler.step_index, scheduler.begin_index):
        if index is not None:
            return int(index)
    if timestep is None:
        return 0
    if isinstance(timestep, Tensor):
        timestep = timestep.to(scheduler.timesteps.device)
    return int(scheduler.index_for_timestep(timestep))


def moves_as_euler(scheduler: Any, before: Tensor, after: Tensor, velocity: Tensor, dsigma: float) -> bool:
    """Whether a computed step moved the latents by dsigma * velocity. Waits for the device: once a run.

    True of multistep solvers, which move by more than one velocity. False where an Euler scheduler gives every token a
    time of its own (LTX with conditions, which also hands in the velocity with the other sign) or counts sigma upwards.
    """
    if _known_name(scheduler) != EULER:
        return True
    expected = dsigma * velocity.float().flatten()
    excess = (after.float() - before.float()).flatten() - expected
    beyond = torch.dot(excess, expected).abs() - EULER_TOLERANCE * torch.dot(expected, expected)
    return beyond.item() <= 0  # a number and no truth value: runs without data read numbers as 0

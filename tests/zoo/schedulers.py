"""Other solvers than the pipeline's own: which solve the flow's ODE, and which do something else."""

from typing import Any

from diffusers import (
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchHeunDiscreteScheduler,
    FlowMatchLCMScheduler,
    FluxPipeline,
    SASolverScheduler,
    UniPCMultistepScheduler,
    WanPipeline,
)

from tests.zoo import flux, wan
from tests.zoo.entries import Made, entry, euler

FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}


def with_scheduler(scheduler: Any) -> Made:
    return wan.wan(WanPipeline, scheduler=scheduler), wan.PROMPT | wan.SIZE


@entry("schedulers", "FlowMatchEuler, Karras sigmas")
def karras() -> Made:
    return with_scheduler(euler(use_karras_sigmas=True))


@entry("schedulers", "FlowMatchEuler, terminal shift and dynamic shifting")
def dynamic_shift() -> Made:
    scheduler = euler(use_dynamic_shifting=True, shift_terminal=0.02, time_shift_type="linear")
    return flux.flux(FluxPipeline, scheduler=scheduler), flux.PROMPT | flux.SIZE


@entry("schedulers", "FlowMatchEuler, stochastic_sampling", refused="stochastic")
def stochastic() -> Made:
    return flux.flux(FluxPipeline, scheduler=euler(stochastic_sampling=True)), flux.PROMPT | flux.SIZE


@entry("schedulers", "FlowMatchEuler, invert_sigmas", displacement="velocities", tolerance=1e-5)
def inverted() -> Made:
    return with_scheduler(euler(invert_sigmas=True))


@entry("schedulers", "FlowMatchLCM", refused="noise|stochastic")
def lcm() -> Made:
    return with_scheduler(FlowMatchLCMScheduler(shift=3.0))


@entry("schedulers", "FlowMatchHeun", refused="Heun")
def heun() -> Made:
    return with_scheduler(FlowMatchHeunDiscreteScheduler(shift=3.0))


@entry("schedulers", "DPMSolverMultistep, flow_prediction")
def dpm() -> Made:
    return with_scheduler(DPMSolverMultistepScheduler(**FLOW))


@entry("schedulers", "DPMSolverMultistep, sde-dpmsolver++", refused="noise|stochastic|sde")
def dpm_sde() -> Made:
    return with_scheduler(DPMSolverMultistepScheduler(**FLOW, algorithm_type="sde-dpmsolver++"))


@entry("schedulers", "UniPC, epsilon with use_flow_sigmas", refused="epsilon")
def unipc_epsilon() -> Made:
    return with_scheduler(UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0))


@entry("schedulers", "DEISMultistep, flow_prediction", refused="last two noise levels are equal")
def deis() -> Made:
    return with_scheduler(DEISMultistepScheduler(**FLOW))


@entry("schedulers", "SASolver, flow_prediction", refused="noise|stochastic|SASolver")
def sa_solver() -> Made:
    return with_scheduler(SASolverScheduler(**FLOW))

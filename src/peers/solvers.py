"""Multistep solvers of diffusers on fewer steps, nothing cached: what a better solver alone buys.

DPM-Solver++(2M), arXiv 2211.01095, and UniPC, arXiv 2302.04867. Upstream: huggingface/diffusers,
DPMSolverMultistepScheduler and UniPCMultistepScheduler.

The pipeline's own scheduler stays where it is and makes its own grid, with its time shift; only its ``step`` is taken
over. Put in its place, both solvers would run on other grids than it (they begin at sigma 0.999 or shift another
linspace) and hand the model timesteps cut to whole numbers: that would not compare solvers alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from meancache.method import Full
from meancache.protocols import ExternalMethod
from meancache.schedule import Schedule
from meancache.seams.overrides import override

SOLVERS = {"dpmpp_2m": "DPMSolverMultistepScheduler", "unipc": "UniPCMultistepScheduler"}
BELOW_ONE = 1 - 1e-6  # UniPC takes log(1 - sigma); its own grids begin here as well


@dataclass(frozen=True)
class Solver(Full, ExternalMethod):
    """Every step computed, ``num_steps`` of them, moved by a second-order multistep solver.

    Args:
        solver: dpmpp_2m or unipc.
        num_steps: steps of the run.

    Raises:
        ValueError: an unknown solver, or ``num_steps`` is not a whole number >= 1.
    """

    solver: str = "dpmpp_2m"
    num_steps: int = 15

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {self.solver!r}")
        if not isinstance(self.num_steps, int) or self.num_steps < 1:
            raise ValueError(f"num_steps must be a whole number >= 1, got {self.num_steps!r}")

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError unless the run has this many steps."""
        if schedule.num_steps != self.num_steps:
            raise ValueError(f"call the pipeline with num_inference_steps={self.num_steps}, not {schedule.num_steps}")

    @contextmanager
    def enabled(self, pipe: Any) -> Iterator[None]:
        import diffusers

        solver_class = getattr(diffusers, SOLVERS[self.solver])
        solver = solver_class(prediction_type="flow_prediction", use_flow_sigmas=True, solver_order=2)
        scheduler = pipe.scheduler
        begin = _beginning(scheduler.set_timesteps, scheduler, solver)
        with (
            override(scheduler, "set_timesteps", begin),
            override(scheduler, "step", _stepping(scheduler.step, solver)),
        ):
            yield


def _beginning(original: Callable[..., Any], scheduler: Any, solver: Any) -> Callable[..., Any]:
    @wraps(original)
    def set_timesteps(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        solver.set_timesteps(len(scheduler.timesteps))  # drops what it knows of an earlier run
        solver.sigmas, solver.timesteps = scheduler.sigmas.float().cpu().clamp(max=BELOW_ONE), scheduler.timesteps
        solver.set_begin_index(0)
        return result

    return set_timesteps


def _stepping(original: Callable[..., Any], solver: Any) -> Callable[..., Any]:
    @wraps(original)
    def step(model_output: Any, timestep: Any, sample: Any, *args: Any, return_dict: bool = True, **kwargs: Any) -> Any:
        return solver.step(model_output, timestep, sample, return_dict=return_dict)

    return step

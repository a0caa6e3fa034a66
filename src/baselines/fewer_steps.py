"""Fewer solver steps, nothing cached: the "60 % steps" and "30 % steps" rows of the paper's Tables 1 and 2.

The solver builds its own sigma grid for the smaller number, with the same time shift.
"""

from dataclasses import dataclass

from meancache.method import Full
from meancache.schedule import Schedule


@dataclass(frozen=True)
class FewerSteps(Full):
    """Every step computed, but only ``num_steps`` of them.

    Raises:
        ValueError: ``num_steps`` is not a whole number >= 1.
    """

    num_steps: int = 15

    def __post_init__(self) -> None:
        if not isinstance(self.num_steps, int) or self.num_steps < 1:
            raise ValueError(f"num_steps must be a whole number >= 1, got {self.num_steps!r}")

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError unless the solver runs this many steps."""
        if schedule.num_steps != self.num_steps:
            raise ValueError(f"call the pipeline with num_inference_steps={self.num_steps}, not {schedule.num_steps}")

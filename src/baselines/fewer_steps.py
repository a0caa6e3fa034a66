"""Fewer solver steps, nothing cached: the "60 % steps" and "30 % steps" rows of the paper's Tables 1 and 2.

The solver builds its own sigma grid for the smaller number, with the same time shift.
"""

from dataclasses import dataclass

from meancache.method import Full


@dataclass(frozen=True)
class FewerSteps(Full):
    """Every step computed, but only ``num_steps`` of them.

    Raises:
        ValueError: ``num_steps`` is not a whole number >= 1.
    """

    num_steps: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.num_steps, int) or self.num_steps < 1:
            raise ValueError(f"num_steps must be a whole number >= 1, got {self.num_steps!r}")

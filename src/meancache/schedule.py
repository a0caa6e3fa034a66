"""The solver's grid of noise levels, and one step of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Step:
    """One solver step, from ``sigma`` to ``sigma_next``."""

    index: int
    num_steps: int
    sigma: float
    sigma_next: float

    @property
    def dsigma(self) -> float:
        """Signed length of the step; negative, since noise falls from 1 to 0."""
        return self.sigma_next - self.sigma


@dataclass(frozen=True)
class Schedule:
    """A sigma grid: ``num_steps + 1`` strictly falling noise levels, 1 -> 0.

    Raises:
        ValueError: fewer than two levels, or levels that do not fall.
    """

    sigmas: tuple[float, ...]

    def __init__(self, sigmas: Sequence[float]) -> None:
        object.__setattr__(self, "sigmas", tuple(float(s) for s in sigmas))
        if len(self.sigmas) < 2:
            raise ValueError(f"a schedule needs at least two sigmas, got {len(self.sigmas)}")
        for index, (sigma, following) in enumerate(pairwise(self.sigmas)):
            if not sigma > following:
                raise ValueError(f"sigmas must fall strictly, but sigma[{index}] = {sigma} and the next is {following}")

    @property
    def num_steps(self) -> int:
        return len(self.sigmas) - 1

    def step(self, index: int) -> Step:
        return Step(index, self.num_steps, self.sigmas[index], self.sigmas[index + 1])

    def steps(self) -> Iterator[Step]:
        return (self.step(index) for index in range(self.num_steps))

    def tail(self, start: int) -> "Schedule":
        """The rest of the grid from its step ``start`` on."""
        return self if start == 0 else Schedule(self.sigmas[start:])

    def matches(self, other: "Schedule", atol: float = 1e-4) -> bool:
        """Whether both are the same grid, up to the rounding of a float32 scheduler."""
        return self.num_steps == other.num_steps and all(abs(a - b) <= atol for a, b in zip(self.sigmas, other.sigmas))

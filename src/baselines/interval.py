"""The step rule that TaylorSeer, ToCa and DuCa share: after a warm-up, every ``interval``-th step is full."""

from dataclasses import dataclass

from meancache.schedule import Step


@dataclass(frozen=True)
class Interval:
    """Full steps are 0, ..., E - 1, then E - 1 + N, E - 1 + 2 N, ...; the last step has no rule of its own.

    Args:
        interval: N; steps from one full step to the next.
        warmup: E; so many steps at the start are all full.

    Raises:
        ValueError: either is not a whole number >= 1.
    """

    interval: int
    warmup: int = 3

    def __post_init__(self) -> None:
        for name in ("interval", "warmup"):
            require_whole(name, getattr(self, name), at_least=1)

    def since_full(self, index: int) -> int:
        """Steps from the last full one to step ``index``; 0 at a full step."""
        beyond = index - (self.warmup - 1)
        return 0 if beyond < 0 else beyond % self.interval

    def is_reused(self, index: int, num_steps: int) -> bool:
        """Whether step ``index`` is followed by one that is not full; what a full step gave is read by no other."""
        return index + 1 < num_steps and self.since_full(index + 1) > 0

    def gap(self, index: int) -> int:
        """Steps from the full step before to full step ``index``."""
        return 1 if index < self.warmup else self.interval


@dataclass(frozen=True)
class Forecast(Interval):
    """An interval with a Taylor polynomial over the steps between full ones.

    Args:
        interval: N; steps from one full step to the next.
        warmup: E; so many steps at the start are all full.
        order: O; of the polynomial, reached once O differences exist. 0 reuses the last value.

    Raises:
        ValueError: interval or warmup below 1, or order below 0, or not whole.
    """

    order: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("order", self.order, at_least=0)

    def is_read(self, step: Step) -> bool:
        """Whether what a full step gave is read later: by forecasts, or in the differences of the first of them."""
        starts = self.order > 0 and step.index == self.warmup - 2
        return self.is_reused(step.index + starts, step.num_steps)

    def order_at(self, index: int) -> int:
        """Highest order of the table made at full step ``index``: no differences between warm-up steps."""
        return self.order if index > self.warmup - 2 else 0


def require_whole(name: str, value: object, *, at_least: int) -> None:
    """Raise ValueError unless ``value`` is a whole number of at least so much."""
    if not isinstance(value, int) or value < at_least:
        raise ValueError(f"{name} must be a whole number >= {at_least}, got {value!r}")

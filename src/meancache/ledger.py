"""What a run has cost, booked as it goes: by the session whole denoiser calls, by seams the blocks that really ran."""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import reduce
from operator import add

from meancache.flops.call import Arguments


@dataclass
class Ledger:
    """The books of one run, an account for each guidance branch; a branch whose inputs change shape opens another.

    Attributes:
        works: by account, what its denoiser calls cost in the units of `meancache.flops`.
        arguments: by account, those of its first denoiser call, without data.
        denoiser_calls: calls that reached the denoiser, all branches.
        full_calls: calls of which all blocks ran, all branches; a call in several parts counts by their share.
        steps: of each step so far, the share of its calls that were full.
    """

    works: list[Counter[str]] = field(default_factory=list)
    arguments: list[Arguments] = field(default_factory=list)
    denoiser_calls: int = 0
    full_calls: float = 0.0
    steps: list[float] = field(default_factory=list)
    _accounts: dict[Hashable, int] = field(default_factory=dict)
    _account: int = 0  # of the call in progress
    _full_calls_before: float = 0.0  # this step

    def open_call(self, account: Hashable, arguments: Callable[[], Arguments]) -> None:
        """Book on this account from now on."""
        if account not in self._accounts:
            self._accounts[account] = len(self.works)
            self.works.append(Counter())
            self.arguments.append(arguments())
        self._account = self._accounts[account]

    @property
    def nfe(self) -> float:
        """Computed steps; a step of which only some calls were full counts by their share."""
        return reduce(add, self.steps, 0.0)  # not sum, whose last digit differs from one Python to the next

    @property
    def call_arguments(self) -> Arguments:
        """Arguments of the call in progress, or of one with the same shapes."""
        return self.arguments[self._account]

    def book(self, unit: str, amount: int = 1) -> None:
        """Book work of the call in progress."""
        self.works[self._account][unit] += amount

    def close_step(self, num_calls: int) -> None:
        """Count the step that made ``num_calls`` denoiser calls, those that were skipped included."""
        self.steps.append((self.full_calls - self._full_calls_before) / num_calls)
        self._full_calls_before = self.full_calls

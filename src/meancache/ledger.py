"""What a run has cost, booked as it goes: by the session whole denoiser calls, by seams the blocks that really ran."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """The books of one run.

    Attributes:
        works: what each guidance branch cost, in the units of `meancache.flops`.
        text_tokens: of each branch, text tokens of every prompt in its call.
        denoiser_calls: calls that reached the denoiser, all branches.
        full_calls: calls of which all blocks ran, all branches; a call in several parts counts by their share.
        nfe: computed steps; a step of which only some calls were full counts by their share.
    """

    works: list[Counter[str]] = field(default_factory=list)
    text_tokens: list[list[int]] = field(default_factory=list)
    denoiser_calls: int = 0
    full_calls: float = 0.0
    nfe: float = 0.0
    _full_calls_before: float = 0.0  # this step

    def close_step(self, num_calls: int) -> None:
        """Count the step that made ``num_calls`` denoiser calls, those that were skipped included."""
        self.nfe += (self.full_calls - self._full_calls_before) / num_calls
        self._full_calls_before = self.full_calls

"""What a run has passed through: noise levels, latents and velocities, one entry a solver step."""

import json
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from meancache.schedule import Schedule

TENSORS = ("latents", "velocity", "applied")


@dataclass(frozen=True)
class Entry:
    """One solver step of a run.

    Attributes:
        index: solver step index.
        sigma: noise level before the step.
        latents: z before the step. (B, ...)
        velocity: v at (latents, sigma): the model's where the step was computed, else the method's estimate.
        applied: the velocity the solver really moved with (differs from ``velocity`` where a method corrects it).
        computed: whether the denoiser ran.
    """

    index: int
    sigma: float
    latents: Tensor
    velocity: Tensor
    applied: Tensor
    computed: bool

    def only(self, names: Collection[str]) -> "Entry":
        """This entry with tensors without elements in place of those not named, which nobody will read.

        Latents are copied: some pipelines (Kandinsky 5) write the next ones into the same tensor.
        """
        kept = {name: getattr(self, name) if name in names else getattr(self, name).new_empty(0) for name in TENSORS}
        return replace(self, **kept | {"latents": kept["latents"].clone()})


class Trajectory:
    """The last ``history`` entries of a run, or all of them with ``history=None`` (calibration).

    Entries are addressed by solver step index. Steps a method skipped are entries like any other.
    """

    def __init__(self, history: int | None = None) -> None:
        self._entries: deque[Entry] = deque(maxlen=history)

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget the steps so far: the next ones have latents of another shape."""
        self._entries.clear()

    def append(self, entry: Entry) -> None:
        assert not self._entries or entry.index == self._entries[-1].index + 1, "entries are consecutive steps"
        self._entries.append(entry)

    def __getitem__(self, index: int) -> Entry:
        """The entry of solver step ``index``; negative counts from the newest."""
        if index < 0:
            return self._entries[index]
        assert self._entries and self._entries[0].index <= index <= self._entries[-1].index, (
            f"step {index} is outside the kept history"
        )
        return self._entries[index - self._entries[0].index]


@dataclass(frozen=True)
class FullTrajectory:
    """A whole run with every step computed, what calibration reads.

    Attributes:
        schedule: the sigma grid, num_steps + 1 levels.
        latents: z at every level, the final one included. (num_steps + 1, B, ...)
        velocities: guided velocity at every level but the last. (num_steps, B, ...)
    """

    schedule: Schedule
    latents: Tensor
    velocities: Tensor

    @property
    def sigmas(self) -> tuple[float, ...]:
        return self.schedule.sigmas

    def sample(self, row: int) -> "FullTrajectory":
        """The trajectory of one sample of the batch, batch axis kept."""
        return FullTrajectory(self.schedule, self.latents[:, row : row + 1], self.velocities[:, row : row + 1])

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        tensors = {"latents": self.latents.contiguous(), "velocities": self.velocities.contiguous()}
        return save(tensors, metadata={"sigmas": json.dumps(self.sigmas)})

    @classmethod
    def load(cls, path: str | Path) -> "FullTrajectory":
        with safe_open(path, framework="pt") as file:
            sigmas = json.loads(file.metadata()["sigmas"])
            return cls(Schedule(sigmas), file.get_tensor("latents"), file.get_tensor("velocities"))

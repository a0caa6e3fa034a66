"""What a method must offer to be attached. Methods know tensors; they know neither pipelines nor models."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from meancache.schedule import Schedule, Step
from meancache.trajectory import Trajectory


@runtime_checkable
class VelocityMethod(Protocol):
    """A method that replaces whole steps: the denoiser does not run and a velocity is put in its place.

    Attributes:
        history: how many past steps it reads from the trajectory.
    """

    @property
    def history(self) -> int: ...

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError if it cannot run on this sigma grid."""

    def computes(self, step: Step) -> bool:
        """Whether the denoiser runs at this step. Step 0 always does."""

    def velocity(self, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
        """The velocity the solver moves with.

        Args:
            step: the solver step.
            latents: z at ``step.sigma``. (B, ...)
            computed: the model's guided velocity, or None at a skipped step. (B, ...)
            trajectory: the steps before this one, at least ``history`` of them where so many exist.
        """

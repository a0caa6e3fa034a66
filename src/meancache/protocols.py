"""What a method must offer to be attached. Methods know tensors; they know neither pipelines nor models.

A method implements one of these, or several: DuCa skips whole stacks and refreshes tokens.
"""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from meancache.schedule import Schedule, Step
from meancache.trajectory import Trajectory


@runtime_checkable
class Method(Protocol):
    """Any method."""

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError if it cannot run on this sigma grid."""


@runtime_checkable
class VelocityMethod(Protocol):
    """A method that replaces whole steps: the denoiser does not run and a velocity is put in its place.

    Attributes:
        history: how many past steps it reads from the trajectory; 0 where it skips none.
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


@runtime_checkable
class SelectiveMethod(VelocityMethod, Protocol):
    """A velocity method that does not read all of its history; the rest is not kept."""

    def reads(self, step: Step) -> Collection[str]:
        """Which tensors of this step's entry it may read later: "latents", "velocity", "applied"."""


class Streams(NamedTuple):
    """What flows from block to block.

    Attributes:
        hidden: image or video tokens (Z-Image: all tokens). (B, S, D)
        encoder: text tokens, None where blocks do not pass them on. (B, S_text, D)
    """

    hidden: Tensor
    encoder: Tensor | None = None

    def __sub__(self, other: "Streams") -> "Streams":
        encoder = None if self.encoder is None or other.encoder is None else self.encoder - other.encoder
        return Streams(self.hidden - other.hidden, encoder)

    def plus(self, residual: "Streams") -> "Streams":
        """These streams with a residual added; a stream that the residual lacks stays as it is."""
        encoder = self.encoder
        if encoder is not None and residual.encoder is not None:
            encoder = encoder + residual.encoder
        return Streams(self.hidden + residual.hidden, encoder)


class Probe(NamedTuple):
    """What a residual method sees of one denoiser call before it decides.

    Attributes:
        entry: streams that entered the blocks.
        here: streams after the ``probe_depth`` blocks that always run; ``entry`` itself if that is 0.
        modulated_input: computes the modulated input of block 0, (B, S, D).
        time: time embedding that block 0 is given, (B, ...).
    """

    entry: Streams
    here: Streams
    modulated_input: Callable[[], Tensor]
    time: Tensor | None = None


@runtime_checkable
class ResidualMethod(Protocol):
    """A method that skips blocks of a denoiser call and puts streams in their place.

    The first ``probe_depth`` and the last ``tail_depth`` blocks always run. One state per denoiser, branch and block
    list, made anew for every run. Subclasses take what they do not change from here.

    Attributes:
        probe_depth: blocks that run before the decision.
        tail_depth: blocks that run after the skipped ones.
        fused: all block lists of the denoiser are one; otherwise each decides for itself.
        per_branch: guidance branches have states of their own.
    """

    probe_depth: int = 0
    tail_depth: int = 0
    fused: bool = True
    per_branch: bool = True

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError if it cannot run on this sigma grid."""
        return None

    def restarts(self, step: Step) -> bool:
        """Whether a computed call throws the probe's blocks away and runs them once more."""
        return False

    def new_state(self) -> Any:
        """State of one denoiser, branch and block list at the start of a run."""

    def computes(self, step: Step, state: Any, probe: Probe) -> bool:
        """Whether the blocks after the probe run in this call. Step 0 always does."""

    def observe(self, step: Step, state: Any, probe: Probe, out: Streams) -> None:
        """Take note of a computed call; ``out`` is what its last skippable block gave."""

    def predict(self, step: Step, state: Any, probe: Probe) -> Streams:
        """Streams in place of what the skipped blocks would have given."""


@dataclass(frozen=True)
class Feature:
    """A module inside a block whose output a method may cache.

    Attributes:
        kind: its part in the block: "attention", "cross_attention", "mlp", "context_mlp" (text), or in a fused
            single-stream block "fused_attention", "fused_mlp_in", "fused_out"; and the value projections inside
            attention "value", "context_value", "fused_value", which run only where their attention does.
        stack: name of the block list.
        layer: position in it.
        module: name of the module in the block.
        num_heads: heads that a value projection serves side by side; 1 for other kinds.
    """

    kind: str
    stack: str
    layer: int
    module: str
    num_heads: int = 1


@runtime_checkable
class FeatureMethod(Protocol):
    """A method that keeps outputs of modules inside the blocks and gives them back, or makes them from few tokens.

    One state per denoiser, branch and block, made anew for every run.

    Attributes:
        kinds: which kinds of features it needs to see.
    """

    @property
    def kinds(self) -> Collection[str]: ...

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError if it cannot run on this sigma grid."""
        return None

    def new_features(self, seed: int) -> Any:
        """State of one denoiser, branch and block at the start of a run; ``seed`` tells them apart."""

    def full(self, step: Step) -> bool:
        """Whether all modules run at this step. Step 0 always does."""

    def keep(self, step: Step, feature: Feature, state: Any, output: Any) -> None:
        """Take note of a module's output at a full step: a tensor, or a pair (image, text) for joint attention."""

    def recall(self, step: Step, feature: Feature, state: Any, compute: Callable[[Tensor], Any], x: Tensor) -> Any:
        """The module's output at any other step, or None where nothing will read it.

        ``compute(rows)`` runs the module on some tokens of its input ``x``, (B, S, D) -> rows (B, n, D).
        """


@runtime_checkable
class ExternalMethod(Protocol):
    """Another library's acceleration, switched on around the pipeline call and off again.

    The session counts the blocks that really run under it; one that is a `VelocityMethod` too leaves them alone.
    """

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError if it cannot run on this sigma grid."""

    def enabled(self, pipe: Any) -> AbstractContextManager[None]:
        """Switched on for this pipeline, until it is left; nothing stays behind then.

        Raises:
            ValueError: it does not know this pipeline, or found nothing to switch on.
        """

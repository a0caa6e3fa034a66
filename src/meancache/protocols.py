"""What a method must offer to be attached. Methods know tensors; they know neither pipelines nor models.

A method inherits from one of these classes, or several: DuCa skips whole stacks and refreshes tokens. What it does not
change it takes from here; what it must bring is abstract, so that a forgotten or misspelt member is an error when the
method is made, and never a run in which nothing is skipped.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

from torch import Tensor

from meancache.schedule import Schedule, Step
from meancache.trajectory import TENSORS, Trajectory


class Method(ABC):  # noqa: B024  (each kind below has abstract members)
    """Any method."""

    def check(self, schedule: Schedule) -> None:  # noqa: B027  (most methods run on any grid)
        """Raise ValueError if the method cannot run on this sigma grid."""


class VelocityMethod(Method):
    """A method that replaces whole steps: the denoiser does not run and a velocity is put in its place."""

    @property
    def history(self) -> int:
        """How many past steps the method reads from the trajectory; 0 where it skips none."""
        return 1

    def reads(self, step: Step, computed: bool) -> Collection[str]:
        """Which tensors of this step's entry the method may read later; the others are not kept.

        A step that the method would skip is computed all the same where a run begins, or where guidance changes.
        """
        return TENSORS

    @abstractmethod
    def computes(self, step: Step) -> bool:
        """Whether the denoiser runs at this step, as far as the step alone says. At a run's first it always does."""

    @abstractmethod
    def velocity(self, step: Step, latents: Tensor, computed: Tensor | None, trajectory: Trajectory) -> Tensor:
        """The velocity the solver moves with.

        Args:
            step: the solver step.
            latents: z at ``step.sigma``. (B, ...)
            computed: the model's guided velocity, or None at a skipped step. (B, ...)
            trajectory: the steps before this one, at least ``history`` of them where so many exist.
        """

    def new_run(self) -> Any:
        """State of one run, for a method whose decisions need one."""
        return None

    def decides(self, step: Step, latents: Tensor, trajectory: Trajectory, state: Any) -> bool:
        """Whether the denoiser runs at this step, given what the run has seen so far.

        Args:
            step: any step but the first.
            latents: z at ``step.sigma``, as the solver left it. (B, ...)
            trajectory: the steps before this one.
            state: what :meth:`new_run` made for this run.
        """
        return self.computes(step)


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
        time: time embedding that block 0 is given, (B, ...); None in lists after the first that decide for themselves.
    """

    entry: Streams
    here: Streams
    modulated_input: Callable[[], Tensor]
    time: Tensor | None = None


class ResidualMethod(Method):
    """A method that skips blocks of a denoiser call and puts streams in their place.

    The first ``probe_depth`` and the last ``tail_depth`` blocks always run. One state per denoiser, branch and block
    list, made anew for every run.

    Attributes:
        probe_depth: blocks that run before the decision.
        tail_depth: blocks that run after the skipped ones.
        fused: all block lists of the denoiser are one; otherwise each decides for itself.
        per_branch: guidance branches have states of their own.
        sees_batch: decisions compare means over the whole batch, so that a sample depends on its neighbours there.
    """

    probe_depth: int = 0
    tail_depth: int = 0
    fused: bool = True
    per_branch: bool = True
    sees_batch: bool = False

    def restarts(self, step: Step) -> bool:
        """Whether a computed call throws the probe's blocks away and runs them once more."""
        return False

    @abstractmethod
    def new_state(self) -> Any:
        """State of one denoiser, branch and block list at the start of a run."""

    @abstractmethod
    def computes(self, step: Step, state: Any, probe: Probe) -> bool:
        """Whether the blocks after the probe run in this call. In the first call of a run they always do."""

    @abstractmethod
    def observe(self, step: Step, state: Any, probe: Probe, out: Streams) -> None:
        """Take note of a computed call; ``out`` is what its last skippable block gave."""

    @abstractmethod
    def predict(self, step: Step, state: Any, probe: Probe) -> Streams:
        """Streams in place of what the skipped blocks would have given."""


@dataclass(frozen=True)
class Feature:
    """A module inside a block whose output a method may cache.

    Attributes:
        kind: its part in the block: "attention", "second_attention" (SD3.5), "cross_attention", "mlp", "context_mlp"
            (text), or in a fused single-stream block "fused_attention", "fused_mlp_in", "fused_out", or "fused_block"
            where all three are one module (FLUX.2); and the value projections inside attention "value",
            "context_value", "fused_value", which run only where their attention does.
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


class FeatureMethod(Method):
    """A method that keeps outputs of modules inside the blocks and gives them back, or makes them from few tokens.

    One state per denoiser, branch and block, made anew for every run; and one per denoiser and branch, for methods
    whose full steps depend on the run.
    """

    @property
    @abstractmethod
    def kinds(self) -> Collection[str]:
        """Which kinds of features the method needs to see."""

    def new_branch(self) -> Any:
        """State of one denoiser and branch at the start of a run, for :meth:`full`."""
        return None

    @abstractmethod
    def new_features(self, seed: int, branch: Any) -> Any:
        """State of one block at the start of a run; ``seed`` tells blocks apart, ``branch`` is its branch's state."""

    @abstractmethod
    def full(self, step: Step, branch: Any) -> bool:
        """Whether all modules run in this call; asked once a call, before its first block. The first call always is."""

    @abstractmethod
    def keep(self, step: Step, feature: Feature, state: Any, output: Any) -> None:
        """Take note of a module's output in a full call: a tensor, or a pair (image, text) for joint attention."""

    @abstractmethod
    def recall(self, step: Step, feature: Feature, state: Any, compute: Callable[[Tensor], Any], x: Tensor) -> Any:
        """The module's output in any other call, or None where nothing will read it.

        ``compute(rows)`` runs the module on some tokens of its input ``x``, (B, S, D) -> rows (B, n, D).
        """


class ExternalMethod(Method):
    """Another library's acceleration, switched on around the pipeline call and off again.

    The session counts the blocks that really run under it; one that is a `VelocityMethod` too leaves them alone.
    """

    @abstractmethod
    def enabled(self, pipe: Any) -> AbstractContextManager[None]:
        """Switched on for this pipeline, until it is left; nothing stays behind then.

        Raises:
            ValueError: it does not know this pipeline, or found nothing to switch on.
        """


KINDS: tuple[type[Method], ...] = (VelocityMethod, ResidualMethod, FeatureMethod, ExternalMethod)


def check_method(method: Any) -> None:
    """Raise ValueError unless ``method`` is one of the kinds above; the message names what is missing or misspelt."""
    if isinstance(method, KINDS):
        return
    name, members = type(method).__name__, dir(method)
    nearest = max(KINDS, key=lambda kind: len(kind.__abstractmethods__.intersection(members)))
    missing = sorted(nearest.__abstractmethods__.difference(members))
    hints = [f"{member!r}{_hint(member, members)}" for member in missing]
    lacks = f" and define {', '.join(hints)}" if hints else ""
    raise ValueError(f"{name} is no method: let it inherit from {nearest.__name__} (meancache.protocols){lacks}")


def _hint(member: str, members: Collection[str]) -> str:
    near = get_close_matches(member, [name for name in members if not name.startswith("_")], n=1)
    return f" (it has {near[0]!r})" if near else ""

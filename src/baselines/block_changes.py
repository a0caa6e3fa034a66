"""What TeaCache and MagCache must know of a model, measured on full runs.

For every step and guidance branch of a sample: how far the modulated input of block 0 and the output of the blocks have
moved since the step before, and how the residual's magnitude has changed. Upstream's authors publish the resulting
constants for a few models and fitting code for none.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meancache.protocols import Probe, ResidualMethod, Streams
from meancache.schedule import Step


@dataclass
class _State:
    modulated: Tensor | None = None
    output: Tensor | None = None
    residual_norm: Tensor | None = None
    rows: list[Tensor] = field(default_factory=list)  # (3, B) a step


@dataclass(frozen=True)
class BlockChanges(ResidualMethod):
    """A full run that takes note of what changes from step to step. ``states`` holds the notes, one a branch."""

    states: list[_State] = field(default_factory=list)

    def new_state(self) -> Any:
        self.states.append(_State())
        return self.states[-1]

    def computes(self, step: Step, state: _State, probe: Probe) -> bool:
        return True

    def observe(self, step: Step, state: _State, probe: Probe, out: Streams) -> None:
        modulated = probe.modulated_input().float()
        output, residual = out.hidden.float(), (out.hidden - probe.entry.hidden).float()
        norm = residual.norm(dim=-1)
        if state.modulated is not None and state.output is not None and state.residual_norm is not None:
            moved = [_relative_l1(modulated, state.modulated), _relative_l1(output, state.output)]
            state.rows.append(torch.stack([*moved, (norm / state.residual_norm).mean(dim=1)]).cpu())
        state.modulated, state.output, state.residual_norm = modulated, output, norm

    def predict(self, step: Step, state: _State, probe: Probe) -> Streams:
        raise AssertionError("every step is computed")

    def changes(self) -> list["Changes"]:
        """What was seen, one entry a sample of the batch."""
        seen = torch.stack([torch.stack(state.rows) for state in self.states])  # (branches, T - 1, 3, B)
        return [Changes(*(seen[:, :, kind, row].tolist() for kind in range(3))) for row in range(seen.shape[-1])]


def _relative_l1(new: Tensor, old: Tensor) -> Tensor:
    """mean|new - old| / mean|old| of each sample, (B,)."""
    return (new - old).abs().mean(dim=(1, 2)) / old.abs().mean(dim=(1, 2))


@dataclass(frozen=True)
class Changes:
    """One sample's changes between neighbouring steps, (branches, T - 1) each.

    Attributes:
        modulated_input: relative L1 change of block 0's modulated input.
        output: relative L1 change of the image tokens after the last block.
        residual_ratio: mean over tokens of the residual's norm over that of the step before.
    """

    modulated_input: list[list[float]]
    output: list[list[float]]
    residual_ratio: list[list[float]]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Changes":
        return cls(**json.loads(text))


def teacache_coefficients(samples: Iterable[Changes]) -> list[float]:
    """Quartic from the change of the modulated input to that of the output, least squares, highest power first."""
    parts = list(samples)
    x, y = (np.concatenate([np.ravel(getattr(s, name)) for s in parts]) for name in ("modulated_input", "output"))
    return [float(c) for c in np.polyfit(x, y, 4)]


def magcache_ratios(samples: Sequence[Changes]) -> list[float]:
    """Mean ratio of every step over samples and branches; the first step has 1."""
    mean = np.mean([sample.residual_ratio for sample in samples], axis=(0, 1))
    return [1.0, *(float(ratio) for ratio in mean)]

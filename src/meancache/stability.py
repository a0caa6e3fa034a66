"""The stability map: what every cached edge would have cost, on full trajectories (MeanCache, section 2.4).

For an edge t -> s of the sigma grid and a span K, the cost is the mean absolute deviation of the estimated from the
true average velocity, Eq. (13). K = 1 is the plain hold. A span of K needs K steps before t, so it is infeasible
(infinite) at the first K - 1 steps. Over a single step the hold is exact: the solver itself moves that way.

Displacements are summed from velocities, which is what Euler steps do, and not taken from latents: in bfloat16 those
are rounded by about as much as a step moves them (see `meancache.velocity.average_of_steps`).

On a multistep solver (Wan's UniPC) latents do not move by dsigma times velocity: each step is corrected with the
velocities before it. The map then says how far an estimate is from the average *velocity*, which is not the average
that the latents moved with: it deviates by 10 to 22 % from Eq. (13) taken from latents. It still orders edges by how
much the velocity changes over them, but its costs are no errors of the latents, whatever the cost is weighed with.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from meancache.schedule import Schedule
from meancache.trajectory import FullTrajectory
from meancache.velocity import jvp


def edge_costs(trajectory: FullTrajectory, spans: Sequence[int]) -> Tensor:
    """L_K(t, s) of every edge, Eq. (13), for each sample of the batch.

    Args:
        trajectory: velocities (T, B, ...) of a full Euler run.
        spans: values of K, the first is 1.

    Returns:
        Costs (B, len(spans), T + 1, T + 1), float32 on the CPU, infinite where there is no such edge.
    """
    schedule, sigmas = trajectory.schedule, torch.tensor(trajectory.sigmas, dtype=torch.float64)
    velocities = trajectory.velocities.float().flatten(2)
    moves = sigmas.diff().to(velocities)[:, None, None] * velocities  # displacement of each step
    shape = (velocities.shape[1], len(spans), schedule.num_steps + 1, schedule.num_steps + 1)
    costs = torch.full(shape, torch.inf)
    for start, sigma in enumerate(trajectory.sigmas[:-1]):
        gaps = (sigmas[start + 1 :] - sigma).to(velocities)[:, None, None]
        deviation = moves[start:].cumsum(0) / gaps - velocities[start]
        for column, span in enumerate(spans):
            if span > max(start, 1):
                continue
            error = deviation
            if span > 1:
                first = start - span
                earlier = trajectory.sigmas[first]
                u_r = moves[first:start].sum(0) / (sigma - earlier)
                error = deviation - gaps * jvp(u_r, velocities[first], sigma, earlier)
            costs[:, column, start, start + 1 :] = error.abs().mean(-1).T.cpu()
        costs[:, list(spans).index(1), start, start + 1] = 0.0
    return costs


@dataclass(frozen=True)
class StabilityMap:
    """Edge costs of one model on one sigma grid, kept per sample so that shards merge without rounding.

    Attributes:
        model: name of the model.
        schedule: the sigma grid, T steps.
        spans: values of K, the first is 1.
        samples: name of each calibration sample, sorted, e.g. "00012-3" for prompt 12 and seed 3.
        costs: (len(samples), len(spans), T + 1, T + 1) float32, infinite where there is no such edge.
    """

    model: str
    schedule: Schedule
    spans: tuple[int, ...]
    samples: tuple[str, ...]
    costs: Tensor

    def mean(self) -> Tensor:
        """Costs averaged over samples, (len(spans), T + 1, T + 1) float64."""
        return self.costs.double().mean(0)

    @property
    def digest(self) -> str:
        """Short content hash, to name the map in plans."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:12]

    @classmethod
    def merge(cls, shards: Iterable["StabilityMap"]) -> "StabilityMap":
        """One map from maps of disjoint samples, in whatever order and grouping they come.

        Raises:
            ValueError: no shards, shards of different models, grids or spans, or a sample that occurs twice.
        """
        parts = list(shards)
        if not parts:
            raise ValueError("there are no stability maps to merge: run stage=calibrate first")
        first = parts[0]
        for part in parts[1:]:
            if (part.model, part.spans) != (first.model, first.spans) or not part.schedule.matches(first.schedule):
                raise ValueError(
                    f"cannot merge stability maps of {first.model} (spans {first.spans}, {first.schedule.num_steps} "
                    f"steps) and {part.model} (spans {part.spans}, {part.schedule.num_steps} steps) or of other grids"
                )
        rows = sorted(
            ((name, part.costs[row]) for part in parts for row, name in enumerate(part.samples)), key=lambda row: row[0]
        )
        names = tuple(name for name, _ in rows)
        if len(set(names)) != len(names):
            raise ValueError("the stability maps overlap: a sample occurs in two of them")
        return cls(first.model, first.schedule, first.spans, names, torch.stack([costs for _, costs in rows]))

    def to_bytes(self) -> bytes:
        about = {"model": self.model, "sigmas": self.schedule.sigmas, "spans": self.spans, "samples": self.samples}
        return save({"costs": self.costs}, metadata={"about": json.dumps(about)})

    @classmethod
    def load(cls, path: str | Path) -> "StabilityMap":
        """Read a map written with :meth:`to_bytes`.

        Raises:
            ValueError: no such file, or not a stability map.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["about"])
                costs = file.get_tensor("costs")
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"no stability map can be read from {path}: {error}") from error
        names = tuple(about["samples"])
        return cls(about["model"], Schedule(about["sigmas"]), tuple(about["spans"]), names, costs)

"""A resumable, data-parallel training loop for small models on CPU cores or one GPU.

Random numbers of step k come from a generator seeded with (seed, stage, rank, k), never from a running state, so a run
that was killed and resumed draws exactly what an uninterrupted one draws.
"""

import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Fit:
    """How one stage trains. It ends after `minutes` or `steps`, whichever comes first.

    Args:
        name: Names the checkpoint file and seeds the stage's random numbers.
        lr: Peak learning rate of AdamW; 100 steps of warm-up, cosine decay to 1 % at the end.
        ema: Decay of the averaged weights.
    """

    name: str
    minutes: float
    steps: int
    lr: float
    seed: int
    ema: float = 0.999
    warmup: int = 100
    weight_decay: float = 0.0
    checkpoint_minutes: float = 3.0


def world() -> tuple[int, int]:
    """(rank, number of processes)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def barrier() -> None:
    """Wait for the other processes."""
    if dist.is_initialized():
        dist.barrier()


def step_generator(seed: int, name: str, step: int) -> torch.Generator:
    """The random numbers of one step on this rank."""
    key = zlib.crc32(f"{seed}/{name}/{world()[0]}/{step}".encode())
    return torch.Generator().manual_seed(key)


def save_atomically(content: dict, path: Path) -> None:
    """Write a checkpoint so that a kill leaves either the old or the new one."""
    temporary = path.with_suffix(".tmp")
    torch.save(content, temporary)
    temporary.replace(path)


def stage_progress(path: Path) -> dict[str, float]:
    """Steps and minutes of a stage, from its checkpoint."""
    content = torch.load(path, weights_only=True, mmap=True)
    return {"steps": content["step"], "minutes": round(content["elapsed"] / 60, 1)}


class Trainer:
    """State of one stage: weights, their average, optimiser, step and elapsed time; all in `<folder>/<name>.pt`."""

    def __init__(self, module: nn.Module, fit: Fit, folder: Path, device: str = "cpu", *, alone: bool = False) -> None:
        """Resume from the checkpoint if there is one; `alone`: this process trains without the others."""
        self.alone = alone or world()[1] == 1
        self.module: Any = module.to(device)
        self.fit, self.path, self.device = fit, folder / f"{fit.name}.pt", device
        self.parameters: list[Any] = [p for p in module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=fit.lr, betas=(0.9, 0.98), weight_decay=fit.weight_decay, foreach=True
        )
        self.average = [p.detach().clone() for p in self.parameters]
        self.step, self.elapsed = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._load()

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        return min(1.0, max(self.elapsed / (60 * self.fit.minutes), self.step / self.fit.steps))

    def run(self, loss_of: Callable[[torch.Generator], Tensor], until: int | None = None) -> None:
        """Train to the end of the budget.

        Args:
            loss_of: Loss of this rank's share of a batch, drawn with the given generator.
            until: Stop earlier, at this step, as if killed after a checkpoint.
        """
        saved, logged, losses = time.monotonic(), time.monotonic(), []
        while (progress := self._agree(self.progress)) < 1 and self.step != until:
            start = time.monotonic()
            loss = loss_of(step_generator(self.fit.seed, self.fit.name, self.step))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self._update(progress)
            losses.append(loss.detach())
            now = time.monotonic()
            self.step, self.elapsed = self.step + 1, self.elapsed + now - start
            if now - logged > 20:
                self._log(torch.stack(losses).mean().item(), len(losses))
                logged, losses = now, []
            if now - saved > 60 * self.fit.checkpoint_minutes:
                self.save()
                saved = now
        self.save()
        if not self.alone:
            dist.barrier()

    def copy_average(self) -> None:
        """Put the averaged weights into the module."""
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.average)

    def save(self) -> None:
        """Write the checkpoint (one process)."""
        if self.alone or world()[0] == 0:
            content = {"module": self.module.state_dict(), "average": self.average, "step": self.step}
            content |= {"optimiser": self.optimiser.state_dict(), "elapsed": self.elapsed}
            save_atomically(content, self.path)

    def _load(self) -> None:
        content = torch.load(self.path, map_location=self.device, weights_only=True)
        self.module.load_state_dict(content["module"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.average, self.step, self.elapsed = content["average"], content["step"], content["elapsed"]

    def _agree(self, progress: float) -> float:
        """Rank 0's progress: clocks differ, the decision to stop must not."""
        shared = torch.tensor(progress, dtype=torch.float64)
        if not self.alone:
            dist.broadcast(shared, 0)
        return shared.item()

    def _update(self, progress: float) -> None:
        """Average gradients over processes, clip, step, and update the averaged weights."""
        if not self.alone:
            flat = torch.cat([p.grad.flatten() for p in self.parameters])
            dist.all_reduce(flat)
            pieces = flat.div_(world()[1]).split([p.numel() for p in self.parameters])
            for p, piece in zip(self.parameters, pieces, strict=True):
                p.grad.copy_(piece.view_as(p))
        nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        decay = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))
        self.optimiser.param_groups[0]["lr"] = self.fit.lr * decay * min(1.0, (self.step + 1) / self.fit.warmup)
        self.optimiser.step()
        with torch.no_grad():
            keep = min(self.fit.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.average, self.parameters, 1 - keep)

    def _log(self, loss: float, count: int) -> None:
        if self.alone or world()[0] == 0:
            done = f"{self.elapsed / 60:.1f} min, {100 * self.progress:.0f} %"
            print(f"[{self.fit.name}] step {self.step} loss {loss:.4f} ({done}, {count} steps since)", flush=True)

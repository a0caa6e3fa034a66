"""What a run keeps: the accounting against the memory the process really holds, and that what is kept is read later."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from baselines.dbcache import DBCache
from baselines.duca import DuCa
from baselines.lemica import LeMiCa
from baselines.taylorseer import TaylorSeer
from baselines.taylorseer_lite import TaylorSeerLite
from baselines.toca import ToCa
from meancache.memory import kept, num_bytes, storages
from meancache.method import Full, MeanCache
from meancache.models import adapter_for
from meancache.plan import RULES, Plan
from meancache.protocols import Feature, Method
from meancache.session import Session, attach
from tests.baselines.test_matrix import CASES, METHODS, STEPS
from tests.pipelines import FIRST, NUM_STEPS, RandomPipeline, random_pipeline_of, schedule_of


class Allocations(TorchDispatchMode):
    """Every storage with data that an operation made, without keeping it alive."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, output = storages(tree_leaves((args, kwargs))), func(*args, **(kwargs or {}))
        for address, storage in storages(tree_leaves(output)).items():
            if address not in given and storage.device.type != "meta":
                self.made[address] = StorageWeakRef(storage), storage.nbytes()
        return output

    def living(self) -> dict[int, int]:
        """Bytes by address of all that has not been freed."""
        return {address: size for address, (reference, size) in self.made.items() if size and not reference.expired()}


def watched(
    pipeline: RandomPipeline,
    method: Method,
    look: Callable[[Session, Any], None],
    mode: AbstractContextManager[Any],
    num_steps: int = STEPS,
) -> None:
    """A run under ``mode``; ``look`` sees the session and the frame of the pipeline's loop after each step."""
    inputs, generator = pipeline.inputs(0), torch.Generator().manual_seed(0)

    def callback(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        look(session, sys._getframe(1))
        return tensors

    settings = {"output_type": "latent", "num_inference_steps": num_steps, "callback_on_step_end": callback}
    with mode, attach(pipeline.pipe, adapter_for(pipeline.pipe), method) as session:
        pipeline.pipe(**inputs, **settings, generator=generator)


def unaccounted(pipeline: RandomPipeline, method: Method) -> tuple[list[dict[int, int]], list[int]]:
    """After each step: what lives and neither pipeline (parts, locals) nor accounting holds; the bytes accounted."""
    missing, sizes, allocations = [], [], Allocations()

    def look(session: Session, loop: Any) -> None:
        own, ours = storages(dict(loop.f_locals)), kept(session.run)
        living = allocations.living()
        assert all(address in living for address, storage in ours.items() if storage.nbytes())
        missing.append({address: size for address, size in living.items() if address not in own | ours})
        sizes.append(num_bytes(ours))

    pipeline.run(num_steps=2)  # rotary tables are made once a process
    watched(pipeline, method, look, allocations)
    return missing, sizes


@pytest.mark.parametrize(("family", "name"), [case for case in CASES if case[0] in FIRST], ids=lambda value: value)
def test_what_is_accounted_is_what_the_process_holds(family, name):
    pipeline = random_pipeline_of(family)
    missing, sizes = unaccounted(pipeline, METHODS[name].sparse(pipeline))
    assert missing == [{}] * STEPS
    assert (max(sizes[:-1]) > 0) == (name != "full")


@dataclass(frozen=True)
class Hoarder(Full):
    """Keeps latents where nobody looks."""

    hoard: list[torch.Tensor] = field(default_factory=list)

    def velocity(self, step: Any, latents: Any, computed: Any, trajectory: Any) -> torch.Tensor:
        self.hoard.append(latents.clone())
        return super().velocity(step, latents, computed, trajectory)


def test_what_a_method_hides_is_noticed(random_flux):
    missing, sizes = unaccounted(random_flux, Hoarder())
    one = random_flux.run().nbytes
    assert [sum(step.values()) for step in missing] == [one * (index + 1) for index in range(STEPS)]
    assert sizes == [0] * STEPS


class Reads(TorchDispatchMode):
    """In which steps operations read what a method kept. That is held here too, so that no address is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0
        self.since: dict[int, int] = {}  # the step that a storage was kept from
        self.last: dict[int, int] = {}  # the step in which it was last read
        self.alive: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for address in storages(tree_leaves((args, kwargs))):
            if address in self.since:
                self.last[address] = self.step
        return func(*args, **(kwargs or {}))

    def look(self, session: Session, loop: Any) -> None:
        for address, storage in storages(session.run.states, session.run.trajectory).items():
            if storage.nbytes() and address not in self.since:
                self.since[address] = self.step
                self.alive.append(storage)
        self.step += 1

    def never(self) -> list[int]:
        """For each storage that no later step read, the step it is from; but for the last, after which all is over."""
        unread = [since for address, since in self.since.items() if self.last.get(address, -1) <= since]
        return sorted(step for step in unread if step < STEPS - 1)


KNOWN_STEPS: dict[str, Method] = {  # methods whose steps do not depend on the sample
    "taylorseer": TaylorSeer(2, warmup=1, order=1),
    "taylorseer-warm-up": TaylorSeer(2, 3, order=2),
    "taylorseer-reuse": TaylorSeer(3, 3, order=0),
    "taylorseer-never": TaylorSeer(1, warmup=1, order=2),
    "taylorseer-lite": TaylorSeerLite(2, 3, order=1),
    "toca": ToCa(3, 2, ratio=0.5),
    "toca-as-released": ToCa(3, 2, ratio=0.5, single_writeback=False),
    "toca-no-tokens": ToCa(3, 2, ratio=0.0),
    "toca-age": ToCa(5, warmup=1, ratio=0.5, soft_weight=0.5),
    "duca-aggressive": DuCa(5, 2, ratio=0.5, first="aggressive"),
    "duca-conservative": DuCa(5, 2, ratio=0.5, first="conservative"),
    "duca-never": DuCa(1, warmup=1, first="conservative"),
    "lemica": LeMiCa((0, 2, 4), STEPS),
    "dbcache": DBCache(1.5, 1, 1, warmup=1, mask="101010", mask_policy="static"),
}


@pytest.mark.parametrize("family", FIRST)
@pytest.mark.parametrize("name", KNOWN_STEPS)
def test_no_tensor_is_kept_that_no_later_step_reads(family, name):
    reads = Reads()
    watched(random_pipeline_of(family), KNOWN_STEPS[name], reads.look, reads)
    assert reads.never() == []
    assert bool(reads.since) == (not name.endswith("never"))


class Wasteful(TaylorSeer):
    """Keeps attention of fused blocks, as upstream does."""

    def keep(self, step: Any, feature: Any, state: Any, output: Any) -> None:
        super().keep(step, Feature("attention", feature.stack, feature.layer, feature.module), state, output)


def test_tensors_that_nobody_reads_are_noticed():
    pipeline, reads, wasteful = random_pipeline_of("hunyuan_video"), Reads(), Reads()
    watched(pipeline, TaylorSeer(3, warmup=1, order=0), reads.look, reads)
    watched(pipeline, Wasteful(3, warmup=1, order=0), wasteful.look, wasteful)
    assert reads.never() == []
    assert set(wasteful.never()) == {0, 3}


@pytest.mark.parametrize("span", [1, 2, 3, 5])
@pytest.mark.parametrize("rule", RULES)
def test_meancache_keeps_the_latents_of_its_longest_span_and_the_current_ones(random_pipeline, rule, span):
    plan = Plan("random", schedule_of(random_pipeline), (0, 1, 6, 9), (1, 1, span, 1), rule)
    method, latents, velocities = MeanCache(plan), [], []

    def look(session: Session, loop: Any) -> None:
        entries = list(session.run.trajectory._entries)
        assert len(entries) <= method.history
        latents.append(num_distinct([*(entry.latents for entry in entries), loop.f_locals["latents"]]))
        velocities.append(num_distinct([entry.velocity for entry in entries]))

    watched(random_pipeline, method, look, nullcontext(), NUM_STEPS)
    assert max(latents) == (span + 1 if rule == "release" else 1)
    assert max(velocities) <= (1 if rule == "hold" else span)


def num_distinct(tensors: Sequence[torch.Tensor]) -> int:
    """How many of these tensors have memory of their own, and any at all."""
    return sum(storage.nbytes() > 0 for storage in storages(tensors).values())

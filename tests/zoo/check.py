"""Run an entry in every way that matters: bare, attached with full and short budgets, and replayed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from itertools import chain
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from meancache.method import Full, MeanCache
from meancache.models import adapter_for
from meancache.plan import RULES, Plan
from meancache.schedule import Schedule
from meancache.session import attach
from tests.zoo.entries import Entry
from tests.zoo.replay import Passed, Replay, Rule, replayed


class Zoo:
    """The pipeline of an entry, ready to be run.

    Attributes:
        entry: what it was made from.
        pipe: the pipeline.
        calls: calls of its denoisers so far, counted in their classes' forward: the shapes of each one's inputs.
    """

    def __init__(self, entry: Entry) -> None:
        torch.manual_seed(0)
        self.entry = entry
        self.pipe, self._inputs = entry.make()
        self.pipe.set_progress_bar_config(disable=True)
        _wake(self.pipe)
        self.calls: list[Any] = []
        self._taken = 0

    def run(self) -> Tensor:
        """Final latents of a call with the same inputs each time."""
        given = {"num_inference_steps": self.entry.num_steps, "output_type": "latent", "return_dict": False}
        inputs = {name: _copied(value) for name, value in (given | self._inputs).items()}
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)  # some pipelines encode images without the generator
        return torch.cat([part.flatten() for part in _tensors(self.pipe(**inputs, generator=generator))])

    def attached(self, method: Any, num_calls: int = 2) -> list[Tensor]:
        """Final latents of the calls of one block."""
        with attach(self.pipe, adapter_for(self.pipe), method):
            return [self.run() for _ in range(num_calls)]

    def replayed(self, rule: Rule) -> tuple[Tensor, list[Passed]]:
        """Final latents of a call whose velocities are replaced by the replay, and what passed."""
        with replayed(self.pipe.scheduler, Replay(rule, self._take_calls)) as replay:
            self._take_calls()
            return self.run(), replay.runs

    def denoisers(self) -> list[nn.Module]:
        """Every module of the pipeline that is a denoiser by its name."""
        parts = self.pipe.components.items()
        return [part for name, part in parts if ("transformer" in name or name == "unet") and part is not None]

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the calls of denoisers, whatever stands before them."""
        with ExitStack() as exits:
            for kind in {type(denoiser) for denoiser in self.denoisers()}:
                exits.enter_context(patch.object(kind, "forward", self._counted(kind.forward)))
            yield

    def _counted(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(forward)
        def counted(*args: Any, **kwargs: Any) -> Any:
            tensors = [leaf for leaf in tree_leaves((args[1:], kwargs)) if isinstance(leaf, Tensor)]
            self.calls.append([tensor.shape for tensor in tensors])
            return forward(*args, **kwargs)

        return counted

    def calls_of(self, run: Callable[[], Any]) -> tuple[Any, int]:
        """What a run gives, and the denoiser calls it made."""
        before = len(self.calls)
        result = run()
        return result, len(self.calls) - before

    def _take_calls(self) -> list[Any]:
        """The calls since this was last asked."""
        taken, self._taken = self._taken, len(self.calls)
        return self.calls[taken:]


def _wake(pipe: Any) -> None:
    """Random weights where a class begins with zeros, which would make its velocity or its control image nothing."""
    for part in pipe.components.values():
        for weight in part.parameters() if isinstance(part, nn.Module) else ():
            if not weight.any():
                nn.init.normal_(weight, std=0.1)


def _copied(value: Any) -> Any:
    """Tensors cloned, so that no run can change the inputs of the next."""
    if isinstance(value, Tensor):
        return value.clone()
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _tensors(output: Any) -> list[Tensor]:
    """All tensors of a pipeline's output."""
    if isinstance(output, Tensor):
        return [output]
    return list(chain.from_iterable(_tensors(part) for part in output)) if isinstance(output, (list, tuple)) else []


@dataclass
class Found:
    """What an entry that works showed.

    Attributes:
        calls: denoiser calls of each step, by run; steps that take another scheduler's call have none and are left out.
        deviations: by rule, from the replay, relative to the largest latent.
        effects: by rule, how far the replay is from the bare run, or from rule ``hold``: a comparison of runs that
            are equal anyway shows nothing.
    """

    calls: list[list[int]]
    deviations: dict[str, float] = field(default_factory=dict)
    effects: dict[str, float] = field(default_factory=dict)


def plan_of(passed: Passed, rule: str, nodes: tuple[int, ...]) -> Plan:
    """A plan that looks three steps back, as far as the rule allows."""
    spans = tuple(min(3, node) if rule == "paper" else 3 for node in nodes)
    falls = passed.sigmas[0] > passed.sigmas[-1]
    schedule = Schedule(passed.sigmas if falls else [1 - sigma for sigma in passed.sigmas])
    return Plan("zoo", schedule, nodes, spans, rule)


def nodes_of(passed: Passed, rule: str) -> tuple[int, ...]:
    """Every second step; for rules that look back also step 1, so that they see a change from step 2 on."""
    return (0, *(() if rule == "hold" else (1,)), *range(2, len(passed.sigmas) - 1, 2))


def deviation(found: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest value; infinite where one is not finite."""
    if found.shape != expected.shape or not found.isfinite().all() or not expected.isfinite().all():
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max())


def check(zoo: Zoo) -> Found:
    """Run an entry that works in all ways.

    Raises:
        AssertionError: something is not as it should be.
    """
    (bare, runs), _ = zoo.calls_of(lambda: zoo.replayed(Rule()))
    assert bare.isfinite().all(), "the bare pipeline gives no finite latents"
    assert torch.equal(bare, zoo.run()), "the bare pipeline is not deterministic"
    numbers = [[len(calls) for calls in run.calls.values() if calls] for run in runs]
    found = Found([calls for calls in numbers if calls])
    _check_full(zoo, bare, runs)
    for rule in RULES:
        _check_rule(zoo, bare, runs, rule, found)
    assert torch.equal(bare, zoo.run()), "the pipeline is not as before after detaching"
    return found


def refuse(zoo: Zoo) -> None:
    """Attach to a pipeline that has to be refused, and call it.

    Raises:
        ValueError: as is right.
        RuntimeError: the same.
        AssertionError: it was refused too late, after denoiser calls.
    """
    before = len(zoo.calls)
    try:
        zoo.attached(Full())
    finally:
        calls = len(zoo.calls) - before
        assert calls <= zoo.entry.calls_before, f"{calls} denoiser calls were made"


def _check_full(zoo: Zoo, bare: Tensor, runs: list[Passed]) -> None:
    """With every step computed the latents are those of the bare pipeline."""
    every = tuple(range(len(runs[0].sigmas) - 1))
    for method in (Full(), *(MeanCache(plan_of(runs[0], rule, every)) for rule in RULES)):
        latents = zoo.attached(method, num_calls=1)[0]
        assert torch.equal(latents, bare), f"full budget: off by {deviation(latents, bare)} with {method}"


def _check_rule(zoo: Zoo, bare: Tensor, runs: list[Passed], rule: str, found: Found) -> None:
    """With a short budget: calls as planned, twice the same, and what the replay gives."""
    nodes = nodes_of(runs[0], rule)
    plan = plan_of(runs[0], rule, nodes)
    (first, second), calls = zoo.calls_of(lambda: zoo.attached(MeanCache(plan)))
    follow = Rule(rule, nodes, plan.spans, zoo.entry.displacement)
    planned = sum(len(calls) for run in runs for index, calls in run.calls.items() if run.computes(index, follow))
    assert planned < sum(map(sum, found.calls)), "the plan skips nothing"
    assert calls == 2 * planned, f"{rule}: {calls} denoiser calls in two runs, planned were {planned} each"
    assert torch.equal(first, second), f"{rule}: two runs differ"
    expected = zoo.replayed(follow)[0]
    other = bare if rule == "hold" else zoo.replayed(replace(follow, name="hold"))[0]
    found.deviations[rule], found.effects[rule] = deviation(first, expected), deviation(other, expected)
    assert found.effects[rule] > max(1e-6, zoo.entry.tolerance), f"{rule}: has no effect, so nothing is shown"
    assert found.deviations[rule] <= zoo.entry.tolerance, f"{rule}: off by {found.deviations[rule]:.2g}"

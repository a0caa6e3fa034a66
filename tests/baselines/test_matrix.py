"""Every method on every model family: what it must never change, and what it must leave behind: nothing.

A new method is one row of ``METHODS``.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from baselines.dbcache import DBCache
from baselines.dicache import DiCache
from baselines.duca import DuCa
from baselines.fbcache import FBCache
from baselines.lemica import LeMiCa
from baselines.magcache import MagCache
from baselines.taylorseer import TaylorSeer
from baselines.taylorseer_lite import TaylorSeerLite
from baselines.teacache import TeaCache
from baselines.toca import ToCa
from meancache.method import Full, MeanCache
from meancache.models import adapter_for
from meancache.plan import Plan
from meancache.protocols import FeatureMethod, Method, ResidualMethod
from meancache.session import Session, attach
from tests.pipelines import (
    FAMILIES,
    FIRST,
    RandomPipeline,
    attached,
    interrupted,
    random_pipeline_of,
    schedule_of,
    two_expert_wan,
)

STEPS = 6
NODES = (0, 1, 4)
LINEAR = (0, 0, 0, 1, 0)  # TeaCache's rescaling that changes nothing


class Row(NamedTuple):
    """A method as the matrix tries it.

    Attributes:
        sparse: settings that skip.
        never_skips: settings that must not change a bit.
        nfe: of ``sparse``, None where the sample decides.
        random: its branches draw random numbers of their own.
        refused: families that lack what it needs, and what the error says of it.
    """

    sparse: Callable[[RandomPipeline], Method]
    never_skips: Callable[[RandomPipeline], Method]
    nfe: int | None = None
    random: bool = False
    refused: tuple[tuple[str, ...], str] = ((), "")


def meancache(rule: str, nodes: tuple[int, ...], span: int) -> Callable[[RandomPipeline], Method]:
    orders = tuple(min(span, max(node, 1)) for node in nodes)
    return lambda pipeline: MeanCache(Plan("random", schedule_of(pipeline, STEPS), nodes, orders, rule))


def same(method: Method) -> Callable[[RandomPipeline], Method]:
    """The same settings for every pipeline."""
    return lambda pipeline: method


def first_block(pipeline: RandomPipeline) -> float:
    """A threshold that the change of the first block crosses now and then; random weights know no common one."""
    return pipeline.family.threshold


ALL = tuple(range(STEPS))
METHODS = {
    "full": Row(same(Full()), same(Full()), STEPS),
    "meancache-paper": Row(meancache("paper", NODES, 3), meancache("paper", ALL, 3), 3),
    "meancache-release": Row(meancache("release", NODES, 3), meancache("release", ALL, 3), 3),
    "meancache-released": Row(
        same(MeanCache(Plan("random", None, (0, 1, 5), (0, 3, 1)))),
        same(MeanCache(Plan("random", None, ALL, (0,) * 6))),
        3,
    ),
    "teacache": Row(same(TeaCache(0.4, LINEAR)), same(TeaCache(0.0, LINEAR))),
    "teacache-time": Row(
        same(TeaCache(0.9, LINEAR, compares="time", last=False)), same(TeaCache(0.0, LINEAR, compares="time"))
    ),
    "magcache": Row(
        same(MagCache(0.1, [1.0, 0.99] * 3, max_skips=1)), same(MagCache(0.1, [1.0, 0.99] * 3, warmup_share=1.0)), 3
    ),
    "lemica": Row(same(LeMiCa(NODES, STEPS)), same(LeMiCa(ALL, STEPS)), 3),
    "dicache": Row(same(DiCache(0.4)), same(DiCache(0.0))),
    "dicache-restarts": Row(same(DiCache(0.4, resumes=False)), same(DiCache(0.0, resumes=False))),
    "fbcache": Row(lambda pipeline: FBCache(first_block(pipeline)), same(FBCache(0.0))),
    "dbcache": Row(lambda pipeline: DBCache(first_block(pipeline), 1, 1, warmup=2), same(DBCache(0.0, 1, 1))),
    "dbcache-taylor": Row(
        same(DBCache(1.5, 1, warmup=4, taylor_order=1, fused=False)), same(DBCache(0.0, 1, fused=False)), 4
    ),
    "taylorseer": Row(same(TaylorSeer(2, warmup=1, order=2)), same(TaylorSeer(1, warmup=1, order=2)), 3),
    "taylorseer-lite": Row(same(TaylorSeerLite(2, warmup=1, order=1)), same(TaylorSeerLite(1, warmup=1)), 3),
    "toca": Row(
        same(ToCa(3, 2, ratio=0.5)),
        same(ToCa(1, warmup=1)),
        3,
        random=True,
        refused=(("flux2", "flux2_klein"), r"none of the features .* only \['fused_block'\]"),
    ),
    "toca-v_norm": Row(
        same(ToCa(3, 2, ratio=0.5, score="v_norm", soft_weight=0.5)),
        same(ToCa(1, warmup=1, score="v_norm")),
        3,
        refused=(("wan", "z_image"), "score=v_norm needs the values"),
    ),
    "duca": Row(same(DuCa(3, 2, ratio=0.5, first="conservative")), same(DuCa(1, warmup=1)), 3, random=True),
}
# of each kind one, for all families: velocity, residual, with probe and tail, feature, token
ONE_OF_EACH = ("meancache-release", "teacache", "dbcache", "taylorseer", "toca")
CASES = [
    (family, name)
    for family in FAMILIES
    for name, row in METHODS.items()
    if family not in row.refused[0] and (family in FIRST or name in ONE_OF_EACH)
]


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.fixture
def random_pipeline(case: tuple[str, str]) -> RandomPipeline:
    return random_pipeline_of(case[0])


@pytest.fixture
def row(case: tuple[str, str]) -> Row:
    return METHODS[case[1]]


@functools.cache
def bare(pipeline: RandomPipeline) -> torch.Tensor:
    return pipeline.run(num_steps=STEPS)


class Sparse(NamedTuple):
    """One run with settings that skip; ``computed`` is how often the first block that may be skipped really ran."""

    latents: torch.Tensor
    session: Session
    computed: int


@functools.cache
def sparse(pipeline: RandomPipeline, row: Row) -> Sparse:
    method, calls = row.sparse(pipeline), []
    with first_skippable(pipeline, method).register_forward_hook(lambda *_: calls.append(1)):
        latents, session = attached(pipeline, method, num_steps=STEPS, keep=True)
    return Sparse(latents, session, len(calls))


def attributes(pipeline: RandomPipeline) -> list[set[str]]:
    """Names on the instances that seams may override."""
    return [
        set(vars(owner)) for owner in (pipeline.pipe, pipeline.pipe.scheduler, *pipeline.pipe.transformer.modules())
    ]


def prompts_alike(pipeline: RandomPipeline) -> dict[str, Any]:
    """Inputs whose negative prompt is the prompt: guidance adds nothing, to the bit."""
    inputs = pipeline.inputs(0)
    return {f"negative_{name}": inputs[name] for name in inputs if f"negative_{name}" in inputs}


def first_skippable(pipeline: RandomPipeline, method: Method, denoiser: nn.Module | None = None) -> nn.Module:
    """What runs once in every call of the first block that the method may skip."""
    blocks = adapter_for(pipeline.pipe).blocks(denoiser or pipeline.pipe.transformer)
    stack, block = blocks[getattr(method, "probe_depth", 0)]
    return block.get_submodule(stack.query)


def test_settings_that_never_skip_change_no_bit(random_pipeline, row):
    latents, session = attached(random_pipeline, row.never_skips(random_pipeline), num_steps=STEPS)
    assert torch.equal(latents, bare(random_pipeline))
    assert session.run.nfe == STEPS


def test_nfe_is_what_really_ran(random_pipeline, row):
    latents, session, computed = sparse(random_pipeline, row)
    assert session.run.nfe == computed / session.run.num_branches
    if row.nfe is None:
        assert 1 < session.run.nfe < STEPS
    else:
        assert session.run.nfe == row.nfe
    assert torch.isfinite(latents).all()
    assert torch.equal(latents, bare(random_pipeline)) == (row.nfe == STEPS)


def test_a_run_knows_nothing_of_those_before_it_and_detaching_restores(random_pipeline, row):
    expected, before, first = bare(random_pipeline), attributes(random_pipeline), sparse(random_pipeline, row)
    with attach(random_pipeline.pipe, adapter_for(random_pipeline.pipe), row.sparse(random_pipeline)) as session:
        assert not torch.equal(random_pipeline.run(7, num_steps=STEPS), first.latents)
        assert torch.equal(random_pipeline.run(num_steps=STEPS), first.latents)
    assert session.run.ledger.works == first.session.run.ledger.works
    assert attributes(random_pipeline) == before
    assert torch.equal(random_pipeline.run(num_steps=STEPS), expected)


def test_branches_have_states_of_their_own(random_pipeline, row):
    session = sparse(random_pipeline, row).session
    branches = range(random_pipeline.family.num_branches)
    assert session.run.num_branches == len(branches)
    reaches_in = isinstance(session.method, ResidualMethod | FeatureMethod)
    assert {key[-1] for key in session.run.states} == (set(branches) if reaches_in else set())


@pytest.mark.parametrize(
    ("family", "name"), [(f, n) for f, n in CASES if FAMILIES[f].num_branches > 1 and not METHODS[n].random]
)
def test_a_branch_does_not_see_the_other(family, name, monkeypatch):
    """With both prompts alike a guided run is the run without guidance: else one branch has touched the other."""
    pipeline = random_pipeline_of(family)
    method = METHODS[name].sparse(pipeline)
    guided, session = attached(pipeline, method, num_steps=STEPS, **prompts_alike(pipeline))
    off = {pipeline.family.guidance: 1.0}
    if pipeline.family.guidance == "guider":
        monkeypatch.setattr(pipeline.pipe.guider, "_enabled", False)
        off = {}
    single, alone = attached(pipeline, method, num_steps=STEPS, **off)
    assert (session.run.num_branches, alone.run.num_branches) == (2, 1)
    torch.testing.assert_close(guided, single, rtol=1e-5, atol=1e-5)
    assert session.run.nfe == alone.run.nfe


@pytest.mark.parametrize(("name", "family"), [(n, f) for n, row in METHODS.items() for f in row.refused[0]])
def test_a_family_without_what_a_method_needs_is_refused(name, family):
    pipeline, row = random_pipeline_of(family), METHODS[name]
    before = attributes(pipeline)
    with pytest.raises(ValueError, match=row.refused[1]):
        attached(pipeline, row.sparse(pipeline), num_steps=STEPS)
    assert attributes(pipeline) == before


@pytest.mark.parametrize("name", [name for family, name in CASES if family == "wan"])
def test_an_expert_that_takes_over_in_mid_run_begins_with_a_full_call(name):
    """Wan 2.2's second transformer, at step 3, which most of these settings skip: it has nothing to reuse yet."""
    pipeline, row = two_expert_wan(0.8), METHODS[name]
    whole, _ = attached(pipeline, row.never_skips(pipeline), num_steps=STEPS)
    assert torch.equal(whole, bare(pipeline))
    first = sparse(pipeline, row)
    second, calls = pipeline.pipe.transformer_2, []
    with first_skippable(pipeline, first.session.method, second).register_forward_hook(lambda *_: calls.append(1)):
        latents, session = attached(pipeline, row.sparse(pipeline), num_steps=STEPS, keep=True)
    assert torch.equal(latents, first.latents)
    assert session.run.nfe == (first.computed + len(calls)) / session.run.num_branches
    assert len(calls) >= 2 or not session.run.states


def test_an_interrupt_leaves_nothing_behind(random_pipeline, row):
    expected = sparse(random_pipeline, row).latents
    with interrupted(random_pipeline, 2):
        before = attributes(random_pipeline)
        with pytest.raises(KeyboardInterrupt):
            attached(random_pipeline, row.sparse(random_pipeline), num_steps=STEPS)
        assert attributes(random_pipeline) == before
    again, _ = attached(random_pipeline, row.sparse(random_pipeline), num_steps=STEPS)
    assert torch.equal(again, expected)


def test_compiled_blocks_are_skipped_too(random_flux):
    """Regional compilation calls blocks past their forward; the seam has to be in front of it."""
    method, transformer = TeaCache(0.4, LINEAR), random_flux.pipe.transformer
    expected, eager = attached(random_flux, method, num_steps=STEPS)
    names = attributes(random_flux)
    transformer.compile_repeated_blocks(fullgraph=False, backend="eager")
    try:
        compiled = attributes(random_flux)
        latents, session = attached(random_flux, method, num_steps=STEPS)
        assert attributes(random_flux) == compiled != names
    finally:
        for _, block in adapter_for(random_flux.pipe).blocks(transformer):
            del block._compiled_call_impl
        torch._dynamo.reset()
    assert attributes(random_flux) == names
    assert session.run.nfe == eager.run.nfe < STEPS
    assert session.run.ledger.works == eager.run.ledger.works
    torch.testing.assert_close(latents, expected, rtol=1e-6, atol=1e-6)

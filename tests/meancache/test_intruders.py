"""Sessions, caches and compilers that would get in each other's way."""

import threading

import pytest
import torch
from diffusers import FirstBlockCacheConfig

from baselines.fbcache import FBCache
from baselines.taylorseer import TaylorSeer
from meancache.method import Full
from meancache.models import adapter_for
from meancache.session import attach
from tests.meancache.test_runs import ADAPTER, STEPS, planned
from tests.pipelines import FAMILIES, RandomPipeline, attached
from tests.toy import Toy, plain


def test_a_second_attach_is_refused_and_the_first_goes_on():
    pipe = Toy()
    bare = pipe(STEPS)
    first, second = attach(pipe, ADAPTER, planned("hold")), attach(pipe, ADAPTER, Full())
    session = first.__enter__()
    with pytest.raises(ValueError, match="Toy is attached to already: leave that block first"):
        second.__enter__()
    pipe(STEPS)
    assert session.run.nfe == 5
    first.__exit__(None, None, None)
    pipe.transformer.calls = 0
    assert torch.equal(pipe(STEPS), bare)
    assert pipe.transformer.calls == STEPS


def test_a_transformer_of_two_pipelines_serves_one_session():
    one, other = Toy(), Toy()
    other.transformer = one.transformer
    with attach(one, ADAPTER, Full()):
        with pytest.raises(ValueError, match="the transformer is attached to already, through another pipeline"):
            attach(other, ADAPTER, Full()).__enter__()
        with pytest.raises(RuntimeError, match="is it shared with another pipeline"):
            other(STEPS)
        one(STEPS)
        with pytest.raises(RuntimeError, match="is it shared with another pipeline"):
            other(STEPS)
    with attach(other, ADAPTER, Full()) as session:
        other(STEPS)
    assert session.run.nfe == STEPS


def test_another_librarys_cache_under_the_reference_is_refused(random_flux):
    transformer = random_flux.pipe.transformer
    transformer.enable_cache(FirstBlockCacheConfig(threshold=0.5))
    try:
        with pytest.raises(ValueError, match=r"another cache is on in the transformer \(\w+\).*disable_cache"):
            attached(random_flux, Full())
    finally:
        transformer.disable_cache()
    assert attached(random_flux, Full())[1].run.nfe == 12


def test_two_threads_in_one_block_are_noticed():
    pipe, errors = Toy(), []

    def calls_elsewhere(pipe: Toy, timestep: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        if pipe.scheduler.step_index == 3:
            thread = threading.Thread(target=steal)
            thread.start()
            thread.join()
        return plain(pipe, timestep, latents)

    def steal() -> None:
        try:
            pipe.velocity(torch.tensor(500.0), torch.ones(2, 8))
        except RuntimeError as error:
            errors.append(str(error))

    pipe.loop = calls_elsewhere
    with attach(pipe, ADAPTER, Full()) as session:
        pipe(STEPS)
    assert session.run.nfe == STEPS
    assert len(errors) == 1 and "give each thread a pipeline" in errors[0]


@pytest.mark.parametrize("where", ["between steps", "between blocks"])
def test_an_interrupted_call_and_then_another_in_one_block(random_flux, where):
    block, calls = random_flux.pipe.transformer.transformer_blocks[1], []

    def interrupt(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return args[-1]

    expected, _ = attached(random_flux, FBCache(0.0))
    with attach(random_flux.pipe, adapter_for(random_flux.pipe), FBCache(0.0)) as session:
        if where == "between steps":
            with pytest.raises(KeyboardInterrupt):
                random_flux.run(callback_on_step_end=interrupt)
        else:
            with block.attn.register_forward_hook(interrupt), pytest.raises(KeyboardInterrupt):
                random_flux.run()
        assert torch.equal(random_flux.run(), expected)
    assert [run.is_done for run in session.runs] == [False, True]


@pytest.mark.parametrize("how", ["in place", "wrapped"])
def test_a_compiled_transformer_keeps_its_gate_outside(random_flux, how):
    """Methods that skip whole steps run; those that reach into the graph are refused with what to do."""
    pipeline, graphs = RandomPipeline(FAMILIES["flux"].make(), FAMILIES["flux"]), []
    pipe = pipeline.pipe
    pipe.transformer.load_state_dict(random_flux.pipe.transformer.state_dict())

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    if how == "in place":
        pipe.transformer.compile(backend=backend)
    else:
        pipe.transformer = torch.compile(pipe.transformer, backend=backend)
    expected, session = attached(random_flux, Full())
    latents, compiled = attached(pipeline, Full())
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
    assert compiled.run.nfe == session.run.nfe
    assert compiled.run.ledger.works == session.run.ledger.works
    num_graphs = len(graphs)
    pipeline.run()
    assert len(graphs) == num_graphs  # neither attaching nor detaching has compiled anything anew
    for method in (FBCache(0.4), TaylorSeer(3)):
        with pytest.raises(ValueError, match=r"compiled as a whole.*compile_repeated_blocks"):
            attached(pipeline, method)

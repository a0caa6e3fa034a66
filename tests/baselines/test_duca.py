"""DuCa: which steps are full, conservative and aggressive, and what an aggressive step leaves out."""

import pytest
import torch

from baselines.duca import DuCa
from baselines.toca import ToCa
from meancache.protocols import Feature, FeatureMethod, Probe, ResidualMethod, Streams
from meancache.schedule import Schedule
from meancache.session import attach
from tests.pipelines import attached, random_pipeline_of

FIFTY = Schedule([1 - index / 50 for index in range(51)])


def kinds_of_steps(method, num_steps=50):
    """F, T (a step of ToCa) or A (aggressive) for each step."""
    letters = []
    for step in FIFTY.steps():
        runs = method.computes(step, method.new_state(), None)
        assert runs or not method.full(step, None)
        letters.append("F" if method.full(step, None) else "T" if runs else "A")
    return "".join(letters)


def test_steps_alternate_between_full_ones():
    hunyuan_video = DuCa(interval=5, warmup=1, first="conservative")
    assert kinds_of_steps(hunyuan_video) == "FTATA" * 10
    flux = DuCa(interval=5, warmup=3, first="aggressive")
    assert kinds_of_steps(flux) == "FF" + "FATAT" * 9 + "FAT"
    assert [kinds_of_steps(flux).count(letter) for letter in "FTA"] == [12, 19, 19]


def test_published_counts_of_ten_need_the_aggressive_step_first():
    counts = {
        first: [kinds_of_steps(DuCa(interval=10, warmup=3, first=first)).count(letter) for letter in "FTA"]
        for first in ("aggressive", "conservative")
    }
    assert counts == {"aggressive": [7, 19, 24], "conservative": [7, 24, 19]}


def test_bad_values_are_named():
    with pytest.raises(ValueError, match="first must be one of aggressive, conservative, got 'full'"):
        DuCa(interval=5, warmup=1, first="full")
    with pytest.raises(ValueError, match="score must be one of"):
        DuCa(interval=5, warmup=1, score="attention", first="conservative")


def test_it_is_a_method_of_both_kinds():
    method = DuCa(interval=5, warmup=1, first="conservative")
    assert isinstance(method, ResidualMethod)
    assert isinstance(method, FeatureMethod)
    assert not isinstance(ToCa(interval=5, warmup=1), ResidualMethod)


def test_an_aggressive_step_hands_on_what_the_last_block_gave():
    method, first, second = (
        DuCa(interval=5, warmup=1, first="conservative"),
        Streams(torch.ones(1, 2, 3)),
        Streams(torch.zeros(1, 2, 3)),
    )
    state, probe = method.new_state(), Probe(first, first, lambda: torch.zeros(1))
    method.observe(FIFTY.step(0), state, probe, first)
    method.observe(FIFTY.step(1), state, probe, second)  # a conservative step refreshes it
    assert torch.equal(method.predict(FIFTY.step(2), state, probe).hidden, second.hidden)


def test_every_step_full_is_bit_identical(random_pipeline):
    assert torch.equal(attached(random_pipeline, DuCa(interval=1, warmup=1))[0], random_pipeline.run())


def test_interval_of_two_with_conservative_steps_is_toca(random_pipeline):
    """Then no step is left to be aggressive."""
    duca, toca = DuCa(interval=2, warmup=1, ratio=0.5, first="conservative"), ToCa(interval=2, warmup=1, ratio=0.5)
    assert torch.equal(attached(random_pipeline, duca)[0], attached(random_pipeline, toca)[0])


@pytest.mark.parametrize("first", ["aggressive", "conservative"])
def test_runs_repeat_and_nfe_counts_full_steps(random_pipeline, first):
    method = DuCa(interval=4, warmup=1, ratio=0.5, first=first)
    latents, session = attached(random_pipeline, method)
    assert session.run.nfe == pytest.approx(3)
    with attach(random_pipeline.pipe, session.adapter, method):
        random_pipeline.run(7)
        assert torch.equal(random_pipeline.run(), latents)
    assert not torch.equal(latents, attached(random_pipeline, ToCa(interval=4, warmup=1, ratio=0.5))[0])


@pytest.mark.parametrize(("first", "conservative"), [("aggressive", 3), ("conservative", 6)])
def test_the_work_of_a_run(first, conservative):
    """12 steps, N = 4: 3 full; of the 9 others the aggressive ones run embedders and output layer alone."""
    pipeline = random_pipeline_of("flux")
    (work,) = attached(pipeline, DuCa(interval=4, warmup=1, ratio=0.5, first=first))[1].run.ledger.works
    assert work == {
        "embed_out": 12,
        "blocks:transformer_blocks": 3 * 2,
        "blocks:single_transformer_blocks": 3 * 2,
        "modulations:transformer_blocks": conservative * 2,
        "modulations:single_transformer_blocks": conservative * 2,
        "tokens:transformer_blocks.ff": conservative * (4 + 4),
        "tokens:transformer_blocks.ff_context": conservative * (1 + 1),
        "tokens:single_transformer_blocks.proj_mlp": conservative * 2 * 21,
        "tokens:single_transformer_blocks.proj_out": conservative * 2 * 21,
    }


# FLUX.1-dev at 1024 x 1024, TFLOP: a full call, embedders and output layer, all modulations; FLOPs of a token
FULL, EMBED_OUT, MODULATIONS = 74.384653, 0.016208, 0.006455
MLP, FUSED = 4 * 3072 * 12288, 2 * 3072 * 12288 + 2 * (3072 + 12288) * 3072


def published(method):
    """TFLOP of 50 steps of FLUX with the method, text encoders and VAE apart."""
    tokens = [(MLP, "mlp", 19, 4096), (MLP, "context_mlp", 19, 512), (FUSED, "fused_mlp_in", 38, 4608)]
    refreshed = sum(
        flops * int(method.share(Feature(kind, "", layer, "")) * length)
        for flops, kind, depth, length in tokens
        for layer in range(depth)
    )
    cost = {"F": FULL, "T": EMBED_OUT + MODULATIONS + refreshed / 1e12, "A": EMBED_OUT}
    return sum(cost[letter] for letter in kinds_of_steps(method))


@pytest.mark.parametrize(("interval", "tflop"), [(5, 978.76), (10, 606.91)])
def test_published_flops_of_flux(interval, tflop):
    """As cache-dit's benchmark quotes them, measured by another counter: they agree to 0.02 %."""
    method = DuCa(interval=interval, warmup=3, ratio=0.1, first="aggressive")
    assert published(method) == pytest.approx(tflop, rel=2.5e-4)


@pytest.mark.parametrize(("interval", "tflop"), [(8, 784.54), (12, 644.70)])
def test_published_flops_of_toca_on_flux(interval, tflop):
    class NeverAggressive(DuCa):
        def computes(self, step, state, probe):
            return True

    assert published(NeverAggressive(interval=interval, warmup=3, ratio=0.1)) == pytest.approx(tflop, rel=2.5e-4)

"""Other libraries' accelerations under our session: what they compute, and that nothing of them is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from baselines.fbcache import FBCache
from baselines.fewer_steps import FewerSteps
from baselines.magcache import MagCache
from meancache.models import adapter_for
from meancache.session import attach
from peers.diffusers_cache import DiffusersCache
from peers.solvers import Solver
from tests.pipelines import RandomPipeline, attached, random_pipeline_of, schedule_of

RATIOS = [1.0, 1.2, 1.1, 1.05] + [1.0, 0.99, 1.01] * 8


def taylorseer(*, interval: int, lite: bool = False, first: int = 3) -> DiffusersCache:
    settings = {"cache_interval": interval, "disable_cache_before_step": first, "taylor_factors_dtype": "float32"}
    return DiffusersCache("TaylorSeerCacheConfig", settings | {"use_lite_mode": lite})


def magcache(num_steps: int) -> DiffusersCache:
    return DiffusersCache("MagCacheConfig", {"num_inference_steps": num_steps, "mag_ratios": RATIOS})


def fastercache() -> DiffusersCache:
    settings = {"is_guidance_distilled": True, "attention_weight_callback": 0.5}
    return DiffusersCache("FasterCacheConfig", settings | {"spatial_attention_timestep_skip_range": [-1, 681]})


def cache_dit() -> Any:
    pytest.importorskip("cache_dit")
    from peers.cache_dit import CacheDit

    return CacheDit({"Fn_compute_blocks": 1, "residual_diff_threshold": 1.5})


EXTERNAL = {
    "fbcache": lambda: DiffusersCache("FirstBlockCacheConfig", {"threshold": 0.3}),
    "taylorseer": lambda: taylorseer(interval=5),
    "lite": lambda: taylorseer(interval=5, lite=True),
    "magcache": lambda: magcache(24),
    "fastercache": fastercache,
    "cache_dit": cache_dit,
}


def computed_steps(pipeline: RandomPipeline, method: Any, num_steps: int) -> list[int]:
    """Steps in which all blocks ran."""
    counts = [0.0]

    def count(pipe: Any, index: int, timestep: Any, state: dict[str, Any]) -> dict[str, Any]:
        counts.append(session.run.ledger.full_calls)
        return state

    with attach(pipeline.pipe, adapter_for(pipeline.pipe), method) as session:
        pipeline.run(num_steps=num_steps, callback_on_step_end=count)
    return [step for step in range(num_steps) if counts[step + 1] > counts[step]]


@pytest.mark.parametrize("name", EXTERNAL)
def test_it_skips_something_and_is_gone_afterwards(random_flux, name):
    pipe, method = random_flux.pipe, EXTERNAL[name]()
    bare = random_flux.run(num_steps=24)
    before = [(module, set(vars(module)), list(module._modules)) for module in pipe.transformer.modules()]
    call = vars(type(pipe))["__call__"]
    first, session = attached(random_flux, method, num_steps=24)
    assert 1 < session.run.nfe < 24
    assert not torch.equal(first, bare)
    assert torch.equal(attached(random_flux, method, num_steps=24)[0], first)
    assert torch.equal(random_flux.run(num_steps=24), bare)
    assert vars(type(pipe))["__call__"] is call
    for module, names, children in before:
        assert set(vars(module)) == names
        assert list(module._modules) == children


def test_an_error_in_mid_run_leaves_nothing_of_it(random_flux):
    bare = random_flux.run()

    def interrupt(pipe: Any, index: int, timestep: Any, state: dict[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    for method in (taylorseer(interval=5), cache_dit(), Solver(solver="unipc", num_steps=12)):
        with pytest.raises(KeyboardInterrupt):
            attached(random_flux, method, callback_on_step_end=interrupt)
        assert torch.equal(random_flux.run(), bare)


@pytest.mark.parametrize("lite", [False, True])
@pytest.mark.parametrize(
    ("interval", "steps"),
    [(5, [0, 1, 2, *range(4, 50, 5)]), (6, [0, 1, 2, *range(4, 50, 6)]), (20, [0, 1, 2, 4, 24, 44])],
)
def test_diffusers_taylorseer_computes_one_step_off_the_paper(random_flux, lite, interval, steps):
    assert computed_steps(random_flux, taylorseer(interval=interval, lite=lite), 50) == steps


@pytest.mark.parametrize("family", ["flux", "qwen_image", "hunyuan_video"])
def test_first_block_cache_is_ours(family):
    pipeline = random_pipeline_of(family)
    theirs, other = attached(pipeline, DiffusersCache("FirstBlockCacheConfig", {"threshold": 0.3}), num_steps=24)
    ours, session = attached(pipeline, FBCache(0.3), num_steps=24)
    assert other.run.nfe == session.run.nfe < 24
    assert torch.equal(ours, theirs)


def test_magcache_is_ours(random_flux):
    theirs, other = attached(random_flux, magcache(24), num_steps=24)
    ours, session = attached(random_flux, MagCache(0.06, RATIOS, max_skips=3, warmup_share=0.2), num_steps=24)
    assert other.run.nfe == session.run.nfe < 24
    torch.testing.assert_close(ours, theirs)


def test_two_branches_of_guidance_are_apart_in_taylorseer(random_qwen):
    _, session = attached(random_qwen, taylorseer(interval=5, lite=True), num_steps=24)
    assert session.run.nfe == len([0, 1, 2, *range(4, 24, 5)])


@pytest.mark.parametrize(
    ("family", "method", "message"),
    [
        ("wan", lambda: taylorseer(interval=5), "found nothing to hook in WanTransformer3DModel"),
        ("z_image", lambda: taylorseer(interval=5), "ZImageTransformer2DModel knows no caches of diffusers"),
        ("qwen_image", fastercache, "keeps one state for all guidance branches"),
        ("flux", lambda: magcache(50), "was made for 50 steps, but the run has 12"),
        ("flux", lambda: Solver(num_steps=15), "num_inference_steps=15, not 12"),
    ],
)
def test_what_would_do_nothing_or_harm_is_an_error(family, method, message):
    pipeline = random_pipeline_of(family)
    bare = pipeline.run()
    with pytest.raises(ValueError, match=message):
        attached(pipeline, method())
    assert torch.equal(pipeline.run(), bare)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiffusersCache("TeaCacheConfig"), "no cache 'TeaCacheConfig', only .*MagCacheConfig"),
        (lambda: DiffusersCache("FirstBlockCacheConfig", {"treshold": 1}), r"no setting \['treshold'\]"),
        (lambda: Solver(solver="euler"), "one of dpmpp_2m, unipc, got 'euler'"),
        (lambda: Solver(num_steps=0), "whole number >= 1, got 0"),
    ],
)
def test_unknown_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("solver", ["dpmpp_2m", "unipc"])
def test_solvers_run_on_the_pipelines_own_grid_and_are_gone_afterwards(random_pipeline, solver):
    bare, own = random_pipeline.run(num_steps=8), schedule_of(random_pipeline, 8)
    names = set(vars(random_pipeline.pipe.scheduler))
    with denoiser_timesteps(random_pipeline) as expected:
        euler = attached(random_pipeline, FewerSteps(num_steps=8), num_steps=8)[1].run
    with denoiser_timesteps(random_pipeline) as seen:
        latents, session = attached(random_pipeline, Solver(solver=solver, num_steps=8), num_steps=8)
    assert session.run.schedule == own == euler.schedule
    assert seen == expected
    assert session.run.nfe == 8
    assert latents.isfinite().all()
    is_their_own = (adapter_for(random_pipeline.pipe).name, solver) == ("wan", "unipc")
    assert torch.equal(latents, bare) == is_their_own  # Wan's pipeline runs UniPC: ours is that, bit for bit
    assert torch.equal(attached(random_pipeline, Solver(solver=solver, num_steps=8), num_steps=8)[0], latents)
    assert torch.equal(random_pipeline.run(num_steps=8), bare)
    assert set(vars(random_pipeline.pipe.scheduler)) == names


@contextmanager
def denoiser_timesteps(pipeline: RandomPipeline) -> Iterator[list[float]]:
    """Timesteps of the denoiser calls."""
    seen: list[float] = []

    def note(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        timestep = kwargs["timestep"] if "timestep" in kwargs else args[1]
        seen.append(float(timestep.flatten()[0]))

    with pipeline.pipe.transformer.register_forward_pre_hook(note, with_kwargs=True):
        yield seen


@pytest.mark.parametrize("solver", ["dpmpp_2m", "unipc"])
def test_second_order_solvers_come_nearer_to_the_limit_than_euler(random_flux, solver):
    limit = random_flux.run(num_steps=200)
    plain = (random_flux.run(num_steps=10) - limit).norm()
    latents, _ = attached(random_flux, Solver(solver=solver, num_steps=10), num_steps=10)
    assert (latents - limit).norm() < 0.5 * plain

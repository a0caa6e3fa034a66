"""The authors' plans on tiny Qwen-Image and Z-Image pipelines, against a transcription of their loop, bit for bit.

The transcription shares no code with ours: its own guidance, log of all steps, JVP from that log, Euler. It is driven
in float32 and, as the authors run it, in bfloat16: the JVP in float32, then cast to the latents' type.
"""

import functools
from collections.abc import Callable

import pytest
import torch
import yaml
from torch import Tensor

from experiments.compose import CONF, compose_config
from experiments.job import Job
from meancache.method import Full, MeanCache
from meancache.plan import Plan
from meancache.schedule import Schedule
from tests.pipelines import FAMILIES, RandomPipeline, attached

FAMILY = {"qwen_image": "qwen_image", "qwen_image_2512": "qwen_image", "z_image": "z_image"}
PLANS = {
    model: yaml.safe_load((CONF / "preset" / f"{model}-meancache_released.yaml").read_text())["plans"]
    for model in FAMILY
}
CASES = [(model, budget) for model in FAMILY for budget in PLANS[model]]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def cast(value, dtype):
    if isinstance(value, list):
        return [cast(item, dtype) for item in value]
    return value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value


@functools.cache
def pipeline_of(family: str, dtype: torch.dtype) -> RandomPipeline:
    made = FAMILIES[family]
    torch.manual_seed(0)
    pipe = made.make()
    pipe.transformer.to(dtype)

    def inputs(seed: int) -> dict[str, object]:
        return {name: cast(value, dtype) for name, value in made.inputs(seed).items()}

    return RandomPipeline(pipe, made._replace(inputs=inputs))


@functools.cache
def reference(pipeline: RandomPipeline) -> tuple[Tensor, Tensor]:
    """Noise that the pipeline starts from, and where 50 computed steps end."""
    final, session = attached(pipeline, Full(), keep=True, num_steps=50)
    return session.run.full_trajectory().latents[0], final


def qwen_guided(pipeline: RandomPipeline, latents: Tensor, timestep: Tensor) -> Tensor:
    inputs, transformer = pipeline.inputs(0), pipeline.pipe.transformer
    cond, uncond = (
        transformer(
            hidden_states=latents,
            timestep=timestep.expand(1).to(latents.dtype) / 1000,
            encoder_hidden_states=inputs[name],
            img_shapes=[[(1, 4, 4)]],
            return_dict=False,
        )[0]
        for name in ("prompt_embeds", "negative_prompt_embeds")
    )
    combined = uncond + inputs["true_cfg_scale"] * (cond - uncond)
    return combined * (cond.norm(dim=-1, keepdim=True) / combined.norm(dim=-1, keepdim=True))


def z_image_guided(pipeline: RandomPipeline, latents: Tensor, timestep: Tensor) -> Tensor:
    inputs, transformer = pipeline.inputs(0), pipeline.pipe.transformer
    rows = [latents.to(transformer.dtype)[0].unsqueeze(1)] * 2
    times = (1000 - timestep.expand(2)) / 1000
    prompts = inputs["prompt_embeds"] + inputs["negative_prompt_embeds"]
    cond, uncond = (row.float() for row in transformer(rows, times, prompts, return_dict=False)[0])
    return -(cond + inputs["guidance_scale"] * (cond - uncond)).squeeze(1)[None]


GUIDED: dict[str, Callable[[RandomPipeline, Tensor, Tensor], Tensor]] = {
    "qwen_image": qwen_guided,
    "z_image": z_image_guided,
}


@torch.no_grad()
def transcription(family: str, pipeline: RandomPipeline, plan: dict, exact_hold: bool) -> Tensor:
    x, _ = reference(pipeline)
    sigmas, timesteps = pipeline.pipe.scheduler.sigmas, pipeline.pipe.scheduler.timesteps
    nodes, order_at = plan["nodes"], [0] * 50
    for start, end, order in zip(nodes, nodes[1:], plan["orders"]):
        order_at[start:end] = [order] * (end - start)
    before, after, velocities = [], [], []  # of every step, computed or not
    for i in range(50):
        if i in nodes:
            v = GUIDED[family](pipeline, x, timesteps[i])
        elif exact_hold and order_at[i - 1] == 1:
            v = velocities[-1]
        else:
            first = i - min(order_at[i - 1], i)
            duration = sigmas[i] - sigmas[first]
            average = (after[-1].float() - before[first].float()) / duration
            minus_jvp = (velocities[first].float() - average) / duration
            v = velocities[-1] - minus_jvp.to(x.dtype) * (sigmas[i + 1] - sigmas[i])
        before.append(x)
        velocities.append(v)
        x = (x.float() + (sigmas[i + 1] - sigmas[i]) * v).to(v.dtype)
        after.append(x)
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("model", "budget"), CASES)
def test_released_plans_equal_the_authors_loop_bit_for_bit(model, budget, dtype):
    pipeline = pipeline_of(FAMILY[model], DTYPES[dtype])
    _, full = reference(pipeline)
    for exact_hold in (True, False):
        method = MeanCache(Plan.released(PLANS[model], int(budget), model), exact_hold)
        ours, session = attached(pipeline, method, num_steps=50)
        expected = transcription(FAMILY[model], pipeline, PLANS[model][budget], exact_hold)
        assert session.run.nfe == int(budget)
        assert ours.dtype == expected.dtype
        assert torch.equal(ours, expected)
        assert not torch.equal(ours, full)


def relative_change(dtype: torch.dtype) -> float:
    """How far the scripts' arithmetic at K = 1 moves the result of Qwen-Image's plan with 17 steps."""
    pipeline, plan = pipeline_of("qwen_image", dtype), Plan.released(PLANS["qwen_image"], 17, "qwen_image")
    held, moved = (
        attached(pipeline, MeanCache(plan, exact_hold=hold), num_steps=50)[0].float() for hold in (True, False)
    )
    return ((held - moved).norm() / held.norm()).item()


def test_at_k_1_the_scripts_add_rounding_of_bfloat16_latents():
    assert relative_change(torch.float32) < 1e-5
    assert relative_change(torch.bfloat16) > 1e-2


def test_the_command_line_reaches_a_plan():
    config = compose_config(["model=qwen_image", "method=meancache_released", "budget=10", "exact_hold=false"])
    plan = Plan.released(PLANS["qwen_image"], 10, "qwen_image")
    assert Job(config).method == MeanCache(plan, exact_hold=False)
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("nodes", "orders", "message"),
    [
        ((0, 3, 3, 5), (1, 1, 1), "nodes must rise"),
        ((1, 5), (1,), "a plan computes step 0 first"),
        ((0, 1, 5), (0, 1, 0), "3 nodes have 2 edges between them"),
        ((0, 1, 5), (0, 0), "the edge from step 1 to 5 needs an order >= 1, got 0"),
        ((0, 1, 5), (-1, 2), "one span >= 0"),
    ],
)
def test_what_is_no_released_plan_is_refused(nodes, orders, message):
    with pytest.raises(ValueError, match=message):
        Plan.released({"3": {"nodes": nodes, "orders": orders}}, 3, "m")


def test_another_budget_or_another_run_is_refused():
    with pytest.raises(ValueError, match="no released plan with budget 11, only with 25, 17, 10"):
        Plan.released(PLANS["qwen_image"], 11, "qwen_image")
    method = MeanCache(Plan.released(PLANS["z_image"], 13, "z_image"))
    with pytest.raises(ValueError, match="is for 50 steps, but the run has 2; plan for them with"):
        method.check(Schedule([1.0, 0.5, 0.0]))

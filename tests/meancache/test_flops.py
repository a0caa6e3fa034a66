"""The accountant: what was booked, priced in closed form, is what torch counts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    FluxTransformer2DModel,
    HunyuanVideoTransformer3DModel,
    QwenImageTransformer2DModel,
)

from baselines.dicache import DiCache
from baselines.taylorseer import TaylorSeer
from baselines.teacache import TeaCache
from meancache.adapters import adapter_for
from meancache.flops import (
    PipelineCosts,
    count_flops,
    denoiser_flops,
    full_call,
    pipeline_constant,
    pipeline_costs,
    unit_costs,
)
from meancache.method import Full
from meancache.session import attach
from tests.pipelines import FAMILIES, RandomPipeline, attached, random_pipeline_of

TINY_FLUX = Path(__file__).parents[2] / "assets/tiny_flux"
STEPS = 6
TEXT = {"flux": (5,), "qwen_image": (5, 5), "hunyuan_video": (5,), "z_image": (5, 5), "wan": (5, 5)}
METHODS = {
    "full": Full(),
    "teacache": TeaCache(0.4, (0, 0, 0, 1, 0)),
    "dicache": DiCache(0.4),
    "dicache-restarts": DiCache(0.4, resumes=False),
    "taylorseer": TaylorSeer(2, warmup=1, order=2),
}
# class, image tokens, text tokens, FLOPs of a call: specification of the paper's settings, counted by torch
FULL_SIZE: list[tuple[Any, dict[str, Any], int, int, int]] = [
    (FluxTransformer2DModel, {"guidance_embeds": True}, 4096, 512, 74_384_653_418_496),
    (QwenImageTransformer2DModel, {}, 6032, 19, 109_244_359_458_816),
    (QwenImageTransformer2DModel, {}, 6032, 6, 108_951_540_400_128),
    (HunyuanVideoTransformer3DModel, {}, 20400, 256, 595_428_243_406_848),
]


def costs_of(family: str, pipeline: RandomPipeline) -> PipelineCosts:
    num_frames = pipeline.inputs(0).get("num_frames", 1)
    return pipeline_costs(pipeline.pipe, height=64, width=64, num_frames=num_frames, text_tokens=TEXT[family])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_what_a_run_booked_is_what_torch_counts(family, method):
    pipeline, sessions = random_pipeline_of(family), []
    counted = count_flops(lambda: sessions.append(attached(pipeline, METHODS[method], num_steps=STEPS)[1]))
    works = sessions[0].run.works
    if family == "z_image":  # both prompts of guidance in one call
        works = works * 2
    priced = costs_of(family, pipeline).run(works)
    assert priced.denoiser == counted
    assert priced.pipeline == counted  # neither encoder nor VAE


def test_full_run_is_that_of_the_full_method():
    pipeline = random_pipeline_of("qwen_image")
    costs = costs_of("qwen_image", pipeline)
    assert costs.run(attached(pipeline, Full(), num_steps=STEPS)[1].run.works) == costs.full_run(STEPS)


@pytest.mark.parametrize(("kind", "options", "image", "text", "expected"), FULL_SIZE)
def test_a_full_size_call(kind, options, image, text, expected):
    with torch.device("meta"):
        denoiser = kind(**options)
    name, config = kind.__name__, denoiser.config
    costs = unit_costs(name, config, image_tokens=image, text_tokens=text)
    assert denoiser_flops(full_call(name, config), costs) == expected


def test_units_of_flux_by_hand():
    config = FluxTransformer2DModel.load_config(TINY_FLUX / "transformer")
    costs = unit_costs("FluxTransformer2DModel", config, image_tokens=256, text_tokens=24)
    width = 2 * 64
    assert costs["modulations:transformer_blocks"] == 2 * costs["indicator"] == 2 * 2 * width * 6 * width
    assert costs["modulations:single_transformer_blocks"] == 2 * width * 3 * width
    assert costs["tokens:transformer_blocks.ff"] == 2 * 2 * width * 4 * width
    assert costs["tokens:single_transformer_blocks.proj_mlp"] == 2 * width * 4 * width
    assert costs["tokens:single_transformer_blocks.proj_out"] == 2 * (width + 4 * width) * width


@pytest.mark.parametrize("size", [64, 96])
def test_a_loaded_pipeline_with_encoders_and_vae(size):
    """From pixels to prompts: tiny_flux as torch counts it, on another size too."""
    pipe = DiffusionPipeline.from_pretrained(TINY_FLUX)
    pipe.set_progress_bar_config(disable=True)
    works: list[Any] = []

    def call() -> None:
        with attach(pipe, adapter_for(pipe), Full()) as session:
            pipe("a red circle", height=size, width=size, max_sequence_length=24, num_inference_steps=2)
        works.extend(session.run.works)

    counted = count_flops(call)
    costs = pipeline_costs(pipe, height=size, width=size, text_tokens=(24,))
    assert costs.run(works).pipeline == counted
    assert costs.run(works).denoiser == counted - costs.once
    assert costs.once == pipeline_constant(pipe, height=size, width=size, text_tokens=(24,)) > 0


def test_what_has_no_price_is_an_error():
    flux = random_pipeline_of("flux").pipe.transformer.config
    with pytest.raises(ValueError, match=r"without a price: \['tokens:nowhere'\]"):
        denoiser_flops({"embed_out": 1, "tokens:nowhere": 3}, {"embed_out": 1})
    with pytest.raises(ValueError, match="Unheard"):
        unit_costs("Unheard", flux, image_tokens=16, text_tokens=5)
    with pytest.raises(ValueError, match="Unheard"):
        full_call("Unheard", flux)
    with pytest.raises(ValueError, match="image_dim"):
        wan = dict(random_pipeline_of("wan").pipe.transformer.config) | {"image_dim": 8}
        unit_costs("WanTransformer3DModel", wan, image_tokens=16, text_tokens=5)
    with pytest.raises(ValueError, match="2 branches"):
        costs_of("flux", random_pipeline_of("flux")).run([{}, {}])

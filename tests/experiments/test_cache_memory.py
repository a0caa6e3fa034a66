"""The table of cache bytes: runs without data keep what real runs keep, and full sizes are those computed by hand."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

from baselines.fbcache import FBCache
from baselines.taylorseer import TaylorSeer
from experiments import cache_memory
from experiments.cache_memory import most_kept, prepared, readable, schedule_of
from experiments.compose import compose_config
from experiments.full_size.cache_rows import method_of
from experiments.full_size.no_data import without_data
from meancache.protocols import Method
from tests.baselines.test_matrix import CASES, METHODS, STEPS
from tests.families import HEADS
from tests.pipelines import FIRST, random_pipeline_of

PUBLISHED = Path(__file__).parents[2] / "experiments/results/cache_memory/table.json"
BF16 = 2


@pytest.mark.parametrize(("family", "name"), [case for case in CASES if case[0] in FIRST], ids=lambda value: value)
def test_a_run_without_data_keeps_as_much_as_a_real_one(family, name):
    pipeline = random_pipeline_of(family)
    method = METHODS[name].sparse(pipeline)
    inputs = pipeline.inputs(0) | {"generator": torch.Generator().manual_seed(0)}
    real = most_kept(pipeline.pipe, method, inputs, STEPS)
    shapes = copy.deepcopy(pipeline.pipe).to("meta")
    with without_data(shapes):
        assert most_kept(shapes, method, inputs, STEPS) == real
    assert (real > 0) == (name != "full")


def full_size(model: str, method: Method, num_steps: int) -> int:
    pipe, inputs = prepared(compose_config([f"model={model}"]).model)
    with without_data(pipe):
        return most_kept(pipe, method, inputs, num_steps)


@pytest.mark.parametrize(
    ("model", "tokens", "num_double", "num_single"),
    [("flux", 4096 + 512, 19, 38), ("hunyuan_video", 17 * 30 * 40 + 256, 20, 40)],
)
def test_taylorseer_keeps_a_table_for_each_module_that_it_reads(model, tokens, num_double, num_single):
    """Attention and MLP of each double-stream block and the output of each fused one, both orders; nothing else."""
    one = tokens * 3072 * BF16
    assert full_size(model, TaylorSeer(2, warmup=1, order=1), 4) == 2 * (2 * num_double + num_single) * one


def test_fbcache_keeps_two_residuals_of_the_image_in_each_branch():
    one, mean = 58 * 104 * 3072 * BF16, BF16
    assert full_size("qwen_image", FBCache(0.1), 2) == 2 * (2 * one + mean)


def test_nothing_else_that_has_no_data_can_be_read():
    pipe = copy.deepcopy(random_pipeline_of("flux").pipe).to("meta")
    with without_data(pipe):
        assert torch.ones(2, device="meta").mean().item() == 0
        with pytest.raises(RuntimeError, match="meta"):
            bool(torch.ones(2, device="meta").sum() > 1)


def small_flux() -> Any:
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=3,
        num_single_layers=5,
        joint_attention_dim=24,
        pooled_projection_dim=24,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
        **HEADS,
    )
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    return FluxPipeline(scheduler=FlowMatchEulerDiscreteScheduler(), transformer=transformer, **nothing)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command publishes of a small FLUX at the size of the real one."""
    folder = tmp_path_factory.mktemp("results") / "cache_memory"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cache_memory.MODELS, "flux", (small_flux, cache_memory.MODELS["flux"][1]))
        cache_memory.main(["models=flux", f"publish={folder}"])
    return folder


def test_the_command_publishes_its_table(published):
    content = json.loads((published / "table.json").read_text())
    (title,) = content["bytes"]
    assert title == "flux 1024x1024"
    lines = (published / "table.md").read_text().splitlines()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1].strip("| ") for line in lines[2:]}
    assert rows == {label: readable(size) for label, size in content["bytes"][title].items()}
    assert content["about"]["num_steps"] == 50


def test_what_follows_from_the_methods(published):
    (sizes,) = json.loads((published / "table.json").read_text())["bytes"].values()
    assert sizes["MeanCache B=10"] == sizes["MeanCache B=15"]
    zeroth = sizes["TaylorSeer O=0"]
    assert [sizes["TaylorSeer O=1"], sizes["TaylorSeer O=2"]] == [2 * zeroth, 3 * zeroth]
    assert sizes["ToCa"] > zeroth  # attention of fused blocks, which TaylorSeer never reads
    assert sizes["DuCa"] - sizes["ToCa"] == sizes["MagCache"]  # a hidden state beside it
    assert sizes["TeaCache"] == 2 * sizes["MagCache"] == 2 * sizes["LeMiCa B=10"]
    assert sizes["DiCache"] == 5 * sizes["MagCache"]
    assert max(sizes, key=lambda label: sizes[label]) == "TaylorSeer O=2"


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="there is no setting model; there are models and publish"):
        cache_memory.main(["model=flux"])
    with pytest.raises(ValueError, match="no architecture of fluxx; models are flux, "):
        cache_memory.main(["models=fluxx"])


@pytest.mark.parametrize("label", ["MeanCache B=10", "TeaCache", "DBCache F2B0", "DiCache", "TaylorSeer O=1"])
def test_the_committed_table_is_what_the_code_gives(label):
    pipe, inputs = prepared(compose_config(["model=flux"]).model)
    with without_data(pipe):
        ours = most_kept(pipe, method_of(label, "flux", schedule_of(pipe, inputs)), inputs)
    assert json.loads(PUBLISHED.read_text())["bytes"]["flux 1024x1024"][label] == ours

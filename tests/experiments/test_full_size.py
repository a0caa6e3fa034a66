"""Full-size pipelines: their architectures without weights, and the bench on small ones filled at random."""

import functools
import json
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLHunyuanVideo, AutoencoderKLQwenImage

from experiments import bench_latency
from experiments.compose import compose_config
from experiments.full_size import random_weights
from experiments.full_size.bench_rows import rows_of
from experiments.full_size.paper_models import flux, hunyuan_video, qwen_image, without_weights
from tests.pipelines import FAMILIES

BILLIONS = {"flux": 11.901, "qwen_image": 20.430, "hunyuan_video": 12.821}  # parameters of the denoiser
MAKE = {"flux": flux, "qwen_image": qwen_image, "hunyuan_video": hunyuan_video}
SMALL_VAES = {
    "flux": lambda: AutoencoderKL(block_out_channels=(8,) * 4, shift_factor=0.1, **_blocks("2D"), **_SMALL),
    "qwen_image": lambda: AutoencoderKLQwenImage(base_dim=8, z_dim=4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4),
    "hunyuan_video": lambda: AutoencoderKLHunyuanVideo(block_out_channels=(8,) * 4, **_SMALL),
}
_SMALL = {"latent_channels": 4, "norm_num_groups": 4, "layers_per_block": 1}


def _blocks(kind: str) -> dict[str, Any]:
    names = {"down": "DownEncoderBlock", "up": "UpDecoderBlock"}
    return {f"{way}_block_types": (f"{name}{kind}",) * 4 for way, name in names.items()}


@functools.cache
def full_size(name: str) -> Any:
    return without_weights(MAKE[name])


@pytest.mark.parametrize("name", MAKE)
def test_architectures_have_the_published_size_and_fit_their_encoders(name):
    pipe = full_size(name)
    assert round(sum(p.numel() for p in pipe.transformer.parameters()) / 1e9, 3) == BILLIONS[name]
    config = pipe.transformer.config
    encoder = pipe.text_encoder_2 if name == "flux" else pipe.text_encoder
    width = getattr(encoder.config, "text_config", encoder.config).hidden_size
    assert (config.get("joint_attention_dim") or config.text_embed_dim) == width
    assert compose_config([f"model={name}"]).model.pipeline == type(pipe).__name__


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small architectures in the place of the full-size ones."""
    for name, (_, inputs) in dict(random_weights.FULL_SIZE).items():

        def make(name: str = name) -> Any:
            pipe = FAMILIES[name][0]()
            pipe.register_modules(vae=SMALL_VAES[name]())
            return pipe

        monkeypatch.setitem(random_weights.FULL_SIZE, name, (make, inputs))


@pytest.mark.parametrize("name", MAKE)
def test_the_bench_times_the_rows_of_a_models_table_on_random_weights(name, small, tmp_path, capsys):
    sizes = ["height=64", "width=64", *(["num_frames=5"] if name == "hunyuan_video" else [])]
    plain = ["dtype=float32", "vae_dtype=null", "vae_tiling=false", "num_steps=26"]
    overrides = [f"model={name}", *(f"model.{key}" for key in plain), *(f"model.call.{size}" for size in sizes)]
    bench_latency.main([*overrides, "weights=random", "repeats=1", f"publish={tmp_path}"])
    content = json.loads((tmp_path / f"{name}-compile_false.json").read_text())
    left_out = capsys.readouterr().err.count("left out")
    assert len(content["rows"]) == len(rows_of({}, name)) - left_out
    assert left_out == (name == "flux")  # LeMiCa's list is for 50 steps
    assert [row["nfe"] for row in content["rows"]][:2] == [26, 15]
    assert all(row["vae_seconds"] > 0 for row in content["rows"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_clear_error():
    with pytest.raises(ValueError, match="torch sees no GPU"):
        bench_latency.main(["model=flux", "weights=random", "runtime=gpu"])


def test_the_row_that_all_are_compared_with_is_not_left_out():
    with pytest.raises(ValueError, match="budget must be a whole number"):
        bench_latency.main(["rows=method=meancache budget=0;method=full"])


def test_a_model_whose_architecture_is_not_written_down_is_refused():
    with pytest.raises(
        ValueError, match="weights=random is there for flux, qwen_image, hunyuan_video, not for tiny_flux"
    ):
        bench_latency.main(["weights=random"])

"""Full-size pipelines: their architectures without weights."""

import functools
from typing import Any

import pytest

from experiments.compose import compose_config
from experiments.full_size.paper_models import flux, hunyuan_video, qwen_image, without_weights

BILLIONS = {"flux": 11.901, "qwen_image": 20.430, "hunyuan_video": 12.821}  # parameters of the denoiser
MAKE = {"flux": flux, "qwen_image": qwen_image, "hunyuan_video": hunyuan_video}


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

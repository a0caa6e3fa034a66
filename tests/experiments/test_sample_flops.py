"""FLOPs that a record books: what torch counts, for each model family, in batches and with encoders and VAE."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLHunyuanVideo, HunyuanVideoPipeline
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel

from meancache.flops import RunFlops, count_flops, sample_flops
from meancache.method import Full
from meancache.models import adapter_for
from meancache.session import attach
from tests.pipelines import FIRST, attached, random_pipeline_of

STEPS = 2
SMALL = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
SMALL_VAE = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4}


def booked(pipe: Any, session: Any, call: Mapping[str, Any]) -> RunFlops:
    run = session.run
    size = len(run.final_latents)
    return sample_flops(
        pipe, session.adapter, works=run.ledger.works, arguments=run.ledger.arguments, batch_size=size, call=call
    )


@pytest.mark.parametrize("family", FIRST)
def test_a_sample_of_a_batch_costs_its_share(family):
    pipeline, sessions = random_pipeline_of(family), []
    counted = count_flops(lambda: sessions.append(attached(pipeline, Full(), 0, 1, num_steps=STEPS)[1]))
    assert booked(pipeline.pipe, sessions[0], pipeline.inputs(0)).denoiser == counted / 2


def test_prompts_of_different_length_in_one_call_cost_what_they_cost():
    """Z-Image's call holds both prompts of guidance; the shorter one is embedded before it is padded."""
    pipeline = random_pipeline_of("z_image")
    longer, sessions = {"negative_prompt_embeds": [torch.randn(40, 24)]}, []
    counted = count_flops(lambda: sessions.append(attached(pipeline, Full(), num_steps=STEPS, **longer)[1]))
    assert booked(pipeline.pipe, sessions[0], pipeline.inputs(0)).denoiser == counted


def test_what_is_not_known_of_a_pipeline_leaves_the_denoiser_known(hunyuan_video, monkeypatch):
    pipe = random_pipeline_of("hunyuan_video")
    _, session = attached(pipe, Full(), num_steps=STEPS)
    known = booked(pipe.pipe, session, pipe.inputs(0)).denoiser
    assert booked(hunyuan_video, session, {}) == RunFlops(known, None)  # no size
    monkeypatch.setattr("meancache.flops.encoders_and_vae.KNOWN", ())
    assert booked(hunyuan_video, session, pipe.inputs(0)) == RunFlops(known, None)
    monkeypatch.setitem(session.run.ledger.works[0], "tokens:nowhere", 3)
    assert booked(pipe.pipe, session, pipe.inputs(0)) == RunFlops(None, None)


def _tokenize(prompt: Any, max_length: int = 77, **_: Any) -> SimpleNamespace:
    ids = torch.ones(1, max_length, dtype=torch.long)
    return SimpleNamespace(input_ids=ids, attention_mask=ids)


@pytest.fixture
def hunyuan_video() -> Any:
    """A whole HunyuanVideo pipeline, small and random, but for its tokenizers."""
    random = random_pipeline_of("hunyuan_video").pipe
    torch.manual_seed(0)
    pipe = HunyuanVideoPipeline(
        transformer=random.transformer,
        scheduler=random.scheduler,
        vae=AutoencoderKLHunyuanVideo(**SMALL_VAE).eval(),
        text_encoder=LlamaModel(LlamaConfig(num_key_value_heads=1, vocab_size=8, **SMALL)).eval(),
        text_encoder_2=CLIPTextModel(CLIPTextConfig(vocab_size=8, eos_token_id=2, **SMALL)).eval(),
        tokenizer=None,
        tokenizer_2=None,
    )
    pipe.tokenizer = pipe.tokenizer_2 = _tokenize
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize("given", [{}, {"prompt_template": {"template": "say {}", "crop_start": 3}}])
def test_hunyuan_video_with_its_encoders_and_vae(hunyuan_video, tiles, given):
    """Llama sees the template that is cut off again, CLIP always 77 tokens; tiles of the VAE overlap."""
    if tiles:
        hunyuan_video.vae.enable_tiling(tile_sample_min_height=64, tile_sample_min_width=64)
        hunyuan_video.vae.enable_tiling(tile_sample_stride_height=48, tile_sample_stride_width=48)
    call, sessions = {"height": 96, "width": 64, "num_frames": 5, "max_sequence_length": 6, **given}, []

    def run() -> None:
        with attach(hunyuan_video, adapter_for(hunyuan_video), Full()) as session:
            hunyuan_video(prompt=["a fox"], num_inference_steps=STEPS, output_type="pt", **call)
        sessions.append(session)

    counted = count_flops(run)
    assert booked(hunyuan_video, sessions[0], call).pipeline == counted

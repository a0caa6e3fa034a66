"""A distilled denoiser in the model's own pipeline, compared with the model itself."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from baselines.distilled import Distilled
from safetensors.torch import load_file, save_file

from experiments.compose import compose_config
from experiments.generate import model_identity, model_of
from experiments.stages import run_stages
from meancache.config import RunConfig
from meancache.pipelines import load_pipeline


@pytest.fixture
def student(tmp_path: Path) -> Iterator[Path]:
    """The embedded model's denoiser, with other output weights."""
    config = compose_config()
    transformer = load_pipeline(config.model, config.runtime).transformer
    kept = transformer.proj_out.weight.detach().clone()
    with torch.no_grad():
        transformer.proj_out.weight.mul_(0.5)
        transformer.save_pretrained(tmp_path / "student")
        transformer.proj_out.weight.copy_(kept)
    yield tmp_path / "student"
    load_pipeline(config.model, config.runtime)  # what other tests share again


def small(student: Path, *more: str) -> RunConfig:
    settings = ["model.num_steps=6", "prompts.limit=1", "runtime.warmup=0", "metrics.names=[psnr]"]
    return compose_config([*settings, "method=distilled", f"model.distilled={student}", "num_steps=3", *more])


def test_a_distilled_run_answers_the_full_run_of_the_model_itself(student, tmp_path):
    outcome = run_stages(small(student, f"output={tmp_path}"))
    run, reference = (json.loads((folder / "records.jsonl").read_text()) for folder in (outcome.run, outcome.reference))
    assert (run["nfe"], reference["nfe"]) == (3, 6)
    own = run_stages(
        compose_config(
            [
                "model.num_steps=6",
                "prompts.limit=1",
                "runtime.warmup=0",
                "metrics.names=[psnr]",
                "method=fewer_steps",
                "num_steps=3",
                f"output={tmp_path}",
            ]
        )
    )
    assert own.reference == outcome.reference
    assert json.loads((own.run / "records.jsonl").read_text())["sha256"] != run["sha256"]
    assert json.loads((outcome.run / "metrics.json").read_text())["metrics"]["psnr"]["value"] < 20


def test_other_weights_are_another_model(student):
    config = small(student)
    pipe = load_pipeline(compose_config([f"model.transformer={student}"]).model, config.runtime)
    own = load_pipeline(compose_config().model, config.runtime)
    torch.testing.assert_close(2 * pipe.transformer.proj_out.weight, own.transformer.proj_out.weight)
    assert (
        model_identity(config)["transformer"]
        == model_identity(compose_config([f"model.transformer={student}"]))["transformer"]
    )
    assert "transformer" not in model_identity(compose_config())


def test_bare_weights_in_pieces_are_read_in_the_models_own_architecture(student, tmp_path):
    weights = load_file(next(student.glob("*.safetensors")))
    bare, names = tmp_path / "bare", sorted(weights)
    bare.mkdir()
    for k in range(2):
        save_file({name: weights[name] for name in names[k::2]}, bare / f"part-{k}.safetensors")
    runtime = compose_config().runtime
    read, whole = (load_pipeline(compose_config([f"model.transformer={f}"]).model, runtime) for f in (bare, student))
    state, expected = read.transformer.state_dict(), whole.transformer.state_dict()
    assert state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)
    (bare / "part-1.safetensors").unlink()
    with pytest.raises(ValueError, match=r"(?s)cannot load the denoiser .*Missing key"):
        load_pipeline(compose_config([f"model.transformer={bare}"]).model, runtime)


def test_arguments_that_the_pipeline_does_not_take_are_named(student):
    with pytest.raises(ValueError, match="a call of FluxPipeline has no argument cfg: see model.call"):
        load_pipeline(model_of(small(student, "+method.call.cfg=1")), compose_config().runtime)


def test_a_missing_denoiser_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="name its folder with model.distilled"):
        Distilled(num_steps=3)
    with pytest.raises(ValueError, match=r"cannot load the denoiser .*there are no \*\.safetensors"):
        run_stages(small(tmp_path, f"output={tmp_path / 'output'}"))
    with pytest.raises(ValueError, match="'nowhere' is neither a folder here nor in the hub cache"):
        run_stages(small(Path("nowhere"), f"output={tmp_path / 'output'}"))

"""A distilled denoiser in the model's own pipeline, compared with the model itself."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from eval.row import row_from_run
from experiments.compose import compose_config
from experiments.job import Job, reference_model
from experiments.stages import run_stages
from meancache.config import RunConfig
from meancache.pipelines import load_pipeline, with_denoiser


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
    settings = ["model.num_steps=3", "prompts.limit=1", "timing={pairs: 1, untimed: 0}", "metrics.names=[psnr]"]
    reference = "{name: tiny_flux, transformer: null, num_steps: 6}"
    student_model = [
        "model.name=student",
        "~preset",
        f"model.transformer={student}",
        f"+model.reference={reference}",
    ]
    return compose_config([*settings, *student_model, "method=full", *more])


def test_a_distilled_model_is_measured_against_its_teachers_full_run(student, tmp_path):
    done = run_stages(Job(small(student, f"output={tmp_path}")))
    assert done is not None and done.run != done.reference
    (run,), (reference,) = done.run.records(), done.reference.records()
    assert (run.nfe, reference.nfe) == (3, 6)
    settings = ["model.num_steps=6", "prompts.limit=1", "timing.pairs=0", "metrics.names=[psnr]", f"output={tmp_path}"]
    own = run_stages(Job(compose_config([*settings, "method=fewer_steps", "num_steps=3"])))
    assert own is not None and own.reference == done.reference
    assert own.run.records()[0].sha256 != run.sha256
    assert done.run.metrics()["metrics"]["psnr"]["value"] < 20
    row = row_from_run(done.run, done.reference)
    assert row.limit is None and row.speedup is not None and row.speedup > 0


def test_other_weights_are_another_model(student):
    config = small(student)
    pipe = load_pipeline(compose_config([f"model.transformer={student}"]).model, config.runtime)
    own = load_pipeline(compose_config().model, config.runtime)
    both = with_denoiser(own, config.model, config.runtime)
    for other in (pipe, both):
        torch.testing.assert_close(2 * other.transformer.proj_out.weight, own.transformer.proj_out.weight)
    assert both.vae is own.vae and both.transformer is not own.transformer
    identities = [Job(c).identity["transformer"] for c in (config, compose_config())]
    assert identities[0] is not None and identities[1] is None


def test_a_reference_changes_what_a_model_has_alone():
    model = compose_config(["model=tiny_qwen_distil", "method=full"]).model
    assert reference_model(model) == compose_config(["model=tiny_qwen", "method=full"]).model
    with pytest.raises(ValueError, match="model.reference has no setting steps"):
        reference_model(replace(model, reference={"steps": 3}))


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
        load_pipeline(small(student, "+model.call.cfg=1").model, compose_config().runtime)


def test_a_missing_denoiser_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"cannot load the denoiser .*there are no \*\.safetensors"):
        run_stages(Job(small(tmp_path, f"output={tmp_path / 'output'}")))
    with pytest.raises(ValueError, match="'nowhere' is neither a folder here nor in the hub cache"):
        run_stages(Job(small(Path("nowhere"), f"output={tmp_path / 'output'}")))

"""The bench on the embedded model, and the rows of the real models on small random pipelines."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLHunyuanVideo, AutoencoderKLQwenImage

from experiments.bench.__main__ import Bench, main
from experiments.bench.measure import StepTime as Step
from experiments.bench.measure import evenly, forced, spread
from experiments.bench.options import parse, rows_of
from experiments.compose import compose_config
from experiments.full_size import random_weights
from experiments.job import Job
from meancache.artifacts import environment
from tests.pipelines import FAMILIES

MODELS = ("flux", "qwen_image", "hunyuan_video")
SMALL_VAES = {
    "flux": lambda: AutoencoderKL(block_out_channels=(8,) * 4, shift_factor=0.1, **_blocks("2D"), **_SMALL),
    "qwen_image": lambda: AutoencoderKLQwenImage(base_dim=8, z_dim=4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4),
    "hunyuan_video": lambda: AutoencoderKLHunyuanVideo(block_out_channels=(8,) * 4, **_SMALL),
}
_SMALL = {"latent_channels": 4, "norm_num_groups": 4, "layers_per_block": 1}
MISSPELT = "method=lemica_released budget=12"  # a setting that is found wrong only when the method is made


def _blocks(kind: str) -> dict[str, Any]:
    names = {"down": "DownEncoderBlock", "up": "UpDecoderBlock"}
    return {f"{way}_block_types": (f"{name}{kind}",) * 4 for way, name in names.items()}


def lines(folder: Path, model: str = "tiny_flux") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{model}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Path]:
    folder = tmp_path_factory.mktemp("bench")
    rows = f"method=meancache budget=4,8;{MISSPELT};method=teacache threshold=0.1 force=5"
    bench = Bench(parse(["model.num_steps=16", "pairs=1", "repeats=2", f"publish={folder}", f"rows={rows}"]))
    bench.run()
    return bench, folder


def test_every_measurement_is_a_line_with_the_machine_it_was_taken_on(bench):
    notes = lines(bench[1])
    assert [note["kind"] for note in notes] == ["built", "warm", *["steps"] * 3, "failed", "steps", *["pair"] * 3]
    assert all(note["machine"].items() >= environment("cpu").items() for note in notes)


def test_computed_and_skipped_steps_are_told_apart(bench):
    counts = {n["row"]: (n["computed_n"], n["skipped_n"]) for n in lines(bench[1]) if n["kind"] == "steps"}
    assert counts == {  # of two runs of 16 steps, without the first step
        "method=full": (30, 0),
        "method=meancache budget=4": (6, 24),
        "method=meancache budget=8": (14, 16),
        "method=teacache threshold=0.1 force=5": (8, 22),
    }


def test_a_pair_has_the_nfe_of_its_method_and_the_limit_that_follows(bench):
    pairs = [note for note in lines(bench[1]) if note["kind"] == "pair"]
    assert [(pair["nfe"], pair["limit"]) for pair in pairs] == [(4, 4), (8, 2), (5, 3.2)]
    for pair in pairs:
        assert pair["speedup"] == pair["reference_s"] / pair["denoise_s"] > 1


def test_the_reference_is_decoded_and_its_text_encoded(bench):
    found = next(note for note in lines(bench[1]) if note["kind"] == "steps")
    assert found["text_s"] > 0
    assert found["vae_s"] > 0
    assert found["peak_mib"] > 100


def test_the_table_has_a_row_for_each_method_and_names_what_failed(bench, capsys):
    bench[0].report.show()
    shown = capsys.readouterr().out
    for words in ("full", "meancache budget=4", "meancache budget=8", "of limit", "2.00x"):
        assert words in shown
    assert f"failed: {MISSPELT} (steps): ValueError: method: there is no released list with budget 12" in shown


def test_what_would_not_fit_is_skipped_and_named(tmp_path, capsys):
    main(["model.num_steps=6", "seconds=1e-6", "rows=method=teacache", f"publish={tmp_path}"])
    assert [note["kind"] for note in lines(tmp_path)] == ["built", "warm", "steps", "skipped"]
    assert "skipped: method=teacache (steps): would have taken about" in capsys.readouterr().out


def test_a_failed_row_is_the_commands_failure(capsys):
    with pytest.raises(ValueError, match="1 of the measurements failed"):
        main(["model.num_steps=6", f"rows={MISSPELT}"])


def test_blocks_are_compiled_for_a_second_round(tmp_path, monkeypatch):
    compiled = []
    kind = type(Bench(parse(["model.num_steps=6"])).subject.pipe.transformer)
    monkeypatch.setattr(kind, "compile_repeated_blocks", lambda self, **options: compiled.append(options))
    main(["model.num_steps=6", "compile=true", "pairs=1", "rows=method=meancache budget=3", f"publish={tmp_path}"])
    assert compiled == [{"fullgraph": True}]
    rounds = [(note["kind"], note["compiled"]) for note in lines(tmp_path) if "compiled" in note]
    assert rounds == [(kind, way) for way in (False, True) for kind in ("steps", "steps", "pair")]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small architectures in the place of the full-size ones."""
    for name, (_, inputs) in dict(random_weights.FULL_SIZE).items():

        def make(name: str = name) -> Any:
            pipe = FAMILIES[name].make()
            pipe.register_modules(vae=SMALL_VAES[name]())
            return pipe

        monkeypatch.setitem(random_weights.FULL_SIZE, name, (make, inputs))


@pytest.mark.parametrize("name", MODELS)
def test_all_rows_of_a_real_model_are_measured_on_random_weights(name, small, tmp_path):
    sizes = ["height=64", "width=64", *(["num_frames=5"] if name == "hunyuan_video" else [])]
    plain = ["dtype=float32", "vae_dtype=null", "vae_tiling=false"]
    overrides = [f"model={name}", *(f"model.{key}" for key in plain), *(f"model.call.{size}" for size in sizes)]
    main([*overrides, "weights=random", "pairs=1", f"publish={tmp_path}"])
    rows, steps = rows_of(parse(overrides), name)
    notes = lines(tmp_path, name)
    timed = {note["row"]: note for note in notes if note["kind"] == "steps"}
    assert list(timed) == ["method=full", *(row.words for row in (*rows["runs"], *rows["steps"]))]
    assert all(
        note["computed_n"] + note["skipped_n"] == min(steps, 15 if "=15" in row else 50) - 1
        for row, note in timed.items()
        if "few" in row
    )
    pairs = {note["row"]: note["nfe"] for note in notes if note["kind"] == "pair"}
    assert list(pairs) == [row.words for row in rows["runs"]]
    assert all(pairs[row.words] == row.force for row in rows["runs"] if row.force)


def test_given_rows_take_the_place_of_those_written_down():
    rows, steps = rows_of(parse(["rows=method=full;method=toca interval=3,4"]), "tiny_flux")
    assert [row.words for row in rows["runs"]] == ["method=toca interval=3", "method=toca interval=4"]
    assert (rows["steps"], steps) == ([], 26)


def test_medians_and_quartiles():
    found = spread([Step(0.001, False), Step(0.002, False), Step(0.003, False), Step(0.1, True)])
    assert found["skipped_ms"] == pytest.approx(2)
    assert found["skipped_quartiles"] == pytest.approx([1.5, 2.5])
    assert (found["skipped_n"], found["computed_n"]) == (3, 1)
    assert found["computed_ms"] == pytest.approx(100)


def test_forced_steps_are_spread_from_first_to_last():
    assert sorted(evenly(5, 50)) == [0, 12, 24, 37, 49]
    assert evenly(1, 50) == {0}
    with pytest.raises(ValueError, match="force= is for methods that skip blocks by a threshold, not for FewerSteps"):
        forced(Job(compose_config(["method=fewer_steps"])).method, evenly(5, 50))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seconds=0"], "seconds must be a number above 0, got '0'"),
        (["seconds=soon"], "seconds must be a number above 0, got 'soon'"),
        (["pairs=none"], "pairs must be a whole number >= 1, got 'none'"),
        (["weights=heavy"], "weights must be one of given, random, got 'heavy'"),
        (["compile=maybe"], "compile must be one of true, false, got 'maybe'"),
        (["publish="], "publish= needs a value"),
        (["rows=method=teacache force=0"], "force must be a whole number >= 1, got '0'"),
        (["model=wan"], "rows.yaml has no rows for wan; give them"),
        (["compile=true", "runtime.compile=true"], "compile=true measures both ways"),
        (["weights=random"], "weights=random is there for flux, qwen_image, hunyuan_video, not for tiny_flux"),
    ],
)
def test_bad_options_are_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        main(arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_clear_error():
    with pytest.raises(ValueError, match="torch sees no GPU"):
        main(["model=flux", "weights=random", "runtime=gpu"])

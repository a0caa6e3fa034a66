"""The embedded model's world, suites, training loop and export, at sizes that take seconds."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline, HunyuanVideoPipeline, QwenImagePipeline, QwenImageTransformer2DModel
from torch import nn

from embedded import card, student_card, students
from embedded.families import hunyuan, qwen, tokenizers
from embedded.families.registry import family
from embedded.judging import checker, judge, readme
from embedded.train import work
from embedded.training import flow, pictures
from embedded.training.export import trained_transformer
from embedded.training.flow import Batches
from embedded.training.loop import Fit, Trainer
from embedded.training.options import TinyConfig, read_options
from embedded.training.vae import load_vae
from embedded.world import captions, prompt_suites
from embedded.world.scenes import HELD_OUT_PAIRS, sample_scene
from eval.scene.checker import Checker
from eval.scene.draw import draw, draw_videos
from eval.scene.judge import is_right, seen_motion
from eval.scene.words import COMMON
from eval.scene.world import MOTIONS, Scene, Thing

STAGES_SEEN = ("images", "flow", "distil")
PROMPT = "a large striped red circle above a small pink star on a night sky"


def some_scenes(count: int, seed: int = 0, held_out: bool = False) -> list[Scene]:
    rng = random.Random(seed)
    return [sample_scene(rng, held_out=held_out) for _ in range(count)]


MICRO = {
    "processes": 1,
    "compile": False,
    "num_scenes": 60,
    "text_steps": 2,
    "text_batch": 4,
    "vae_steps": 2,
    "vae_batch": 2,
    "decoder_steps": 2,
    "images_steps": 2,
    "flow_steps": 2,
    "flow_batch": 2,
    "distil_steps": 2,
    "width_text": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "num_heads": 1,
    "head_dim": 16,
}


def train_micro(model: str, folder: Path) -> TinyConfig:
    """A model too small to learn anything, trained for two steps a stage in one process."""
    chosen = {**MICRO, "model": model, "output": folder / "work", "export_to": folder / "model"}
    config = read_options([f"{key}={value}" for key, value in chosen.items()])
    threads = torch.get_num_threads()
    work(0, config, "")
    torch.set_num_threads(threads)
    return config


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> TinyConfig:
    return train_micro("tiny_flux", tmp_path_factory.mktemp("micro"))


@pytest.fixture(scope="module")
def micro_qwen(tmp_path_factory: pytest.TempPathFactory) -> TinyConfig:
    return train_micro("tiny_qwen", tmp_path_factory.mktemp("micro_qwen"))


@pytest.fixture(scope="module")
def micro_hunyuan(tmp_path_factory: pytest.TempPathFactory) -> TinyConfig:
    return train_micro("tiny_hunyuan", tmp_path_factory.mktemp("micro_hunyuan"))


def test_drawing_is_deterministic_by_seed() -> None:
    scenes = some_scenes(12)
    first = draw(scenes, torch.Generator().manual_seed(3))
    assert torch.equal(first, draw(scenes, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, draw(scenes, torch.Generator().manual_seed(4)))
    assert first.shape == (12, 3, 64, 64)
    assert first.abs().max() <= 1


def test_a_thing_changes_the_picture_only_around_its_cell() -> None:
    scenes = [Scene((Thing("circle", colour, row=0, column=0),), "gray") for colour in ("red", "blue")]
    red, blue = (draw([scene], torch.Generator().manual_seed(0))[0] for scene in scenes)
    assert (red - blue)[:, :26, :26].abs().max() > 0.5
    assert torch.equal(red[:, 30:, 30:], blue[:, 30:, 30:])


def test_captions_mention_what_is_drawn() -> None:
    rng = random.Random(0)
    for scene in some_scenes(300):
        words = captions.caption(scene, rng)
        for thing in scene.things:
            assert thing.colour in words.text.lower()
            names = COMMON.get(thing.shape, (thing.shape,))
            assert any(name in words.text.lower() for name in names), words.text
        assert len(words.text.replace(",", " ,").split()) <= captions.MAX_WORDS


def test_rare_words_appear_only_when_asked_for() -> None:
    rng = random.Random(0)
    common = {w.strip(".,").lower() for s in some_scenes(2000) for w in captions.caption(s, rng).text.split()}
    assert not common & prompt_suites.RARE_WORDS
    rare = [captions.caption(scene, rng, rare=True).text for scene in some_scenes(200)]
    assert sum(any(word in text for word in prompt_suites.RARE_WORDS) for text in rare) > 100


def test_held_out_pairs_never_appear_in_training_scenes() -> None:
    drawn = {(thing.shape, thing.colour) for scene in some_scenes(5000) for thing in scene.things}
    assert not drawn & HELD_OUT_PAIRS
    assert len(drawn) == 64 - len(HELD_OUT_PAIRS)
    assert any((t.shape, t.colour) in HELD_OUT_PAIRS for s in some_scenes(200, held_out=True) for t in s.things)


@pytest.mark.parametrize("bad", [{"shape": "blob"}, {"colour": "teal"}, {"row": 3}])
def test_things_of_another_world_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        Thing(**{"shape": "circle", "colour": "red", **bad})


def test_suites_are_well_formed_disjoint_and_reproducible(tmp_path: Path) -> None:
    scenes, calibration = prompt_suites.load_suite("scenes"), prompt_suites.load_suite("calibration")
    assert len({entry["prompt"] for entry in scenes}) == 64
    assert len({entry["prompt"] for entry in calibration}) == 50
    assert not {entry["prompt"] for entry in scenes} & {entry["prompt"] for entry in calibration}
    for entries, counts in ((scenes, prompt_suites.SCENES), (calibration, prompt_suites.CALIBRATION)):
        found = [entry["category"] for entry in entries]
        assert {name: found.count(name) for name in counts} == counts
    pairs = [{(o["shape"], o["colour"]) for o in e["objects"]} for e in scenes if e["category"] == "conflicting"]
    assert all(pair & HELD_OUT_PAIRS for pair in pairs)
    prompt_suites.write_suites(tmp_path)
    for name in ("scenes", "calibration"):
        assert (tmp_path / f"{name}.jsonl").read_text() == (prompt_suites.FOLDER / f"{name}.jsonl").read_text()


def test_tokenizers_cover_known_and_unseen_words(tmp_path: Path) -> None:
    texts = tokenizers.corpus(800)
    for build in (tokenizers.build_clip_tokenizer, tokenizers.build_t5_tokenizer, tokenizers.build_qwen_tokenizer):
        built = build(texts)
        built.save_pretrained(tmp_path / build.__name__)
        tokenizer = type(built).from_pretrained(tmp_path / build.__name__)
        assert tokenizer("a turquoise jellyfish").input_ids == built("a turquoise jellyfish").input_ids
        ids = tokenizer("a turquoise jellyfish").input_ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == "a turquoise jellyfish"
        assert len(tokenizer(PROMPT).input_ids) <= len(PROMPT.split()) + 2
        assert max(len(ids) for ids in tokenizer(texts).input_ids) <= tokenizer.model_max_length


def test_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    def train(folder: Path, stops: list[int]) -> Trainer:
        for stop in stops:
            torch.manual_seed(0)
            fit = Fit(name="line", minutes=60, steps=8, lr=0.1, seed=0)
            trainer = Trainer(nn.Linear(2, 1), fit, folder)
            trainer.run(lambda g, t=trainer: t.module(torch.randn(4, 2, generator=g)).square().mean(), until=stop)
        return trainer

    whole, resumed = train(tmp_path / "a", [8]), train(tmp_path / "b", [3, 5, 8])
    assert whole.step == resumed.step == 8
    for left, right in zip(whole.parameters + whole.average, resumed.parameters + resumed.average, strict=True):
        assert torch.equal(left, right)


def test_finished_stages_are_not_trained_again(micro: TinyConfig) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in micro.folder.iterdir() if path.suffix != ".pt"}
    steps = torch.load(micro.folder / "flow.pt", weights_only=True)["step"]
    work(0, replace(micro, stage="flow"), "")
    assert torch.load(micro.folder / "flow.pt", weights_only=True)["step"] == steps == 2
    assert before == {name: (micro.folder / name).stat().st_mtime_ns for name in before}


def test_export_loads_in_the_real_pipeline(micro: TinyConfig) -> None:
    pipe = FluxPipeline.from_pretrained(micro.export_to)
    modules = (pipe.transformer, pipe.vae, pipe.text_encoder, pipe.text_encoder_2)
    assert {module.dtype for module in modules} == {torch.float32}
    assert not list(Path(micro.export_to).rglob("*.bin"))
    pipe.set_progress_bar_config(disable=True)
    image = pipe(PROMPT, height=64, width=64, max_sequence_length=24, num_inference_steps=2).images[0]
    assert image.size == (64, 64)
    assert pipe.scheduler.sigmas[0] == 1


def test_qwen_export_draws_with_true_guidance_in_the_real_pipeline(micro_qwen: TinyConfig) -> None:
    pipe = QwenImagePipeline.from_pretrained(micro_qwen.export_to)
    assert {module.dtype for module in (pipe.transformer, pipe.vae, pipe.text_encoder)} == {torch.float32}
    pipe.set_progress_bar_config(disable=True)
    call = {"negative_prompt": " ", "true_cfg_scale": 4.0, "height": 128, "width": 128, "num_inference_steps": 2}
    image = pipe(PROMPT, generator=torch.Generator().manual_seed(0), **call).images[0]
    assert image.size == (128, 128)
    assert pipe.scheduler.sigmas[-2] == pytest.approx(0.02)  # shift_terminal
    assert len(pipe.vae.config.latents_std) == micro_qwen.latent_channels


def test_a_student_learns_the_teachers_guided_average_velocity(micro_qwen: TinyConfig, tmp_path: Path) -> None:
    config = replace(micro_qwen, export_to=str(tmp_path / "model"), student_steps=2, num_scenes=60)
    folder = students.export_student(config, students.train_student(config))
    student = QwenImageTransformer2DModel.from_pretrained(folder)
    teacher = trained_transformer(config)
    assert json.loads((folder / "training.json").read_text())["steps"] == 2
    pairs = zip(student.parameters(), teacher.half().float().parameters(), strict=True)
    assert any(not torch.equal(learned, given) for learned, given in pairs)


def test_a_students_card_is_filled_in(tmp_path: Path) -> None:
    config = read_options(["model=tiny_qwen", f"export_to={tmp_path}/model"])
    folder = students.student_folder(config)
    folder.mkdir()
    (folder / "training.json").write_text('{"steps": 1234, "minutes": 5.0, "batch": 32, "hardware": "an abacus"}')
    rows = [
        {"denoiser": "teacher", "steps": 50, "calls": 100, "right": 0.5, "psnr": None},
        {"denoiser": "student", "steps": 15, "calls": 15, "right": 0.25, "psnr": 21.3},
    ]
    student_card.write_card(config, rows)
    text = (folder / "README.md").read_text()
    assert "1,234 steps" in text and "| teacher | 50 | 100 | 50.0% | - |" in text
    assert "| student | 15 | 15 | 25.0% | 21.30 |" in text


def test_a_student_is_measured_beside_its_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student_card, "GRIDS", (5,))
    monkeypatch.setattr(student_card, "load_suite", lambda name: prompt_suites.load_suite(name)[:2])
    monkeypatch.setattr(student_card, "load_checker", lambda: Checker().eval())
    full, few, student = student_card.measure(read_options(["model=tiny_qwen"]))
    assert [(row["denoiser"], row["steps"], row["calls"]) for row in (full, few, student)] == [
        ("teacher", 50, 100),
        ("teacher", 5, 10),
        ("student", 5, 5),
    ]
    assert full["psnr"] is None and few["psnr"] > 25 and 15 < student["psnr"] < 40


def test_a_students_grids_are_the_pipelines(micro_qwen: TinyConfig) -> None:
    pipe = QwenImagePipeline.from_pretrained(micro_qwen.export_to)
    pipe.set_progress_bar_config(disable=True)
    for grid, num_steps in zip(students.sigma_grids(micro_qwen), students.GRIDS, strict=True):
        pipe(PROMPT, height=128, width=128, num_inference_steps=num_steps, output_type="latent")
        torch.testing.assert_close(pipe.scheduler.sigmas.cpu().float(), grid)


def test_the_average_velocity_of_a_straight_path_is_its_velocity() -> None:
    def constant(latents, sigmas, guidance, told):
        return torch.full_like(latents, told["value"])

    start, end = torch.tensor([1.0, 0.5]), torch.tensor([0.8, 0.0])
    zeros, told, nothing = torch.zeros(2, 3, 4), {"value": 2.0}, {"value": 1.0}
    mean = students.average_velocity(constant, zeros, start, end, told, nothing, scale=4.0)
    torch.testing.assert_close(mean, torch.full_like(zeros, 2.0))  # 1 + 4 (2 - 1) = 5, rescaled to the norm of 2


def test_a_model_with_distilled_guidance_teaches_no_student(micro: TinyConfig) -> None:
    with pytest.raises(ValueError, match="guidance distilled already"):
        students.train_student(micro)


def test_qwen_template_is_cut_off_and_the_prompt_is_not(micro_qwen: TinyConfig) -> None:
    pipe = QwenImagePipeline.from_pretrained(micro_qwen.export_to)
    template, cut = pipe.prompt_template_encode, pipe.prompt_template_encode_start_idx
    for prompt in (" ", "", "A small pink star.", "two red hearts, striped", "a turquoise jellyfish"):
        ids = pipe.tokenizer(template.format(prompt)).input_ids
        assert pipe.tokenizer.decode(ids[cut:]).startswith(f"{prompt}<|im_end|>")
    assert len(pipe.tokenizer(PROMPT).input_ids) == len(PROMPT.split())
    alone, _ = pipe.encode_prompt(PROMPT)
    together, mask = pipe.encode_prompt([PROMPT, " "])
    assert mask.sum(1).tolist() == [alone.shape[1], 6]
    torch.testing.assert_close(together[:1], alone)


def test_qwen_autoencoder_trained_on_pictures_equals_the_real_one(micro_qwen: TinyConfig) -> None:
    trained, real = load_vae(micro_qwen), QwenImagePipeline.from_pretrained(micro_qwen.export_to).vae
    picture = pictures.unseen_pictures(micro_qwen, 1)[1]
    mean = qwen.moments(trained, picture).chunk(2, dim=1)[0]
    torch.testing.assert_close(real.encode(picture[:, :, None]).latent_dist.mode()[:, :, 0], mean, atol=2e-2, rtol=0)
    decoded = real.decode(mean[:, :, None]).sample[:, :, 0]
    torch.testing.assert_close(decoded, qwen.decode(trained, mean).clamp(-1, 1), atol=2e-2, rtol=0)


def test_hunyuan_export_draws_a_video_in_the_real_pipeline(micro_hunyuan: TinyConfig) -> None:
    pipe = HunyuanVideoPipeline.from_pretrained(micro_hunyuan.export_to)
    modules = (pipe.transformer, pipe.vae, pipe.text_encoder, pipe.text_encoder_2)
    assert {module.dtype for module in modules} == {torch.float32}
    pipe.set_progress_bar_config(disable=True)
    call = {"height": 64, "width": 64, "num_frames": 9, "max_sequence_length": 24, "num_inference_steps": 2}
    frames = pipe(PROMPT, generator=torch.Generator().manual_seed(0), output_type="pt", **call).frames
    assert frames.shape == (1, 9, 3, 64, 64)
    assert pipe.scheduler.config.shift == 7


def test_hunyuan_prompts_are_read_as_the_pipeline_reads_them(micro_hunyuan: TinyConfig) -> None:
    pipe = HunyuanVideoPipeline.from_pretrained(micro_hunyuan.export_to)
    texts = ["a red star, spinning", "a turquoise jellyfish at the top and two big plain hearts below it"]
    states, pooled, mask = pipe.encode_prompt(texts, max_sequence_length=64)
    told = {}
    for part in family(micro_hunyuan).texts:
        told |= part.encode(getattr(pipe, part.tokenizer), getattr(pipe, part.module), texts)
    length = told["encoder_hidden_states"].shape[1]
    assert torch.equal(mask[:, :length], told["encoder_attention_mask"]) and mask[:, length:].sum() == 0
    read = mask[:, :length].bool()
    torch.testing.assert_close(told["encoder_hidden_states"][read], states[:, :length][read], atol=1e-5, rtol=0)
    torch.testing.assert_close(told["pooled_projections"], pooled, atol=1e-5, rtol=0)


def test_hunyuan_autoencoder_trained_on_single_frames_equals_the_real_one(micro_hunyuan: TinyConfig) -> None:
    trained, real = load_vae(micro_hunyuan), HunyuanVideoPipeline.from_pretrained(micro_hunyuan.export_to).vae
    _, videos = pictures.unseen_pictures(micro_hunyuan, 2)
    for clip in (videos, videos[:, :, :1]):
        mean = hunyuan.moments(trained, clip).chunk(2, dim=1)[0]
        torch.testing.assert_close(real.encode(clip).latent_dist.mode(), mean, atol=2e-2, rtol=0)
        torch.testing.assert_close(real.decode(mean).sample, hunyuan.decode(trained, mean), atol=2e-2, rtol=0)


def test_hunyuan_trains_on_first_frames_before_videos(micro_hunyuan: TinyConfig) -> None:
    batches = Batches(micro_hunyuan)
    stills, told = batches.draw(3, torch.Generator().manual_seed(0), stills=True)
    videos, _ = batches.draw(3, torch.Generator().manual_seed(0))
    assert stills.shape[2] == 1 and torch.equal(stills, videos[:, :, :1]) and videos.shape[2] == 3
    assert set(told) == {"encoder_hidden_states", "encoder_attention_mask", "pooled_projections"}
    steps = {name: torch.load(micro_hunyuan.folder / f"{name}.pt", weights_only=True)["step"] for name in STAGES_SEEN}
    assert steps == dict.fromkeys(STAGES_SEEN, 2)


def test_a_denoiser_starts_by_hearing_all_its_text_states_say_equally_loud(micro_hunyuan: TinyConfig) -> None:
    loud = torch.randn(400, 16, generator=torch.Generator().manual_seed(0)) * torch.logspace(1, -1.5, 16) + 3
    layer = nn.Linear(16, 16)
    flow.start_as_whitening(layer, loud)
    torch.testing.assert_close(torch.cov(layer(loud).T), torch.eye(16), atol=1e-3, rtol=0)
    torch.testing.assert_close(layer(loud).mean(0), torch.zeros(16), atol=1e-3, rtol=0)
    transformer = family(micro_hunyuan).build_transformer(micro_hunyuan)
    assert isinstance(transformer.get_submodule(family(micro_hunyuan).whitens), nn.Linear)


def test_drawn_motions_move_as_they_are_called() -> None:
    thing = Thing("square", "red", 1, 1)
    scenes = [Scene((thing,), "gray", motion) for motion in MOTIONS]
    videos = draw_videos(scenes, seed=0, num_frames=5)
    assert torch.equal(videos[:, :, 2], draw(scenes, torch.Generator().manual_seed(0)))
    red = (videos[:, 0] > 0.5) & (videos[:, 1] < 0)  # (B, T, H, W)
    area = red.flatten(2).sum(-1)
    axis = torch.arange(64.0)
    x, y = ((red.sum(along) * axis).sum(-1) / area for along in (-2, -1))
    change = {m: (x[k, -1] - x[k, 0], y[k, -1] - y[k, 0], area[k, -1] / area[k, 0]) for k, m in enumerate(MOTIONS)}
    assert change["left"][0] < -10 and change["right"][0] > 10 and change["up"][1] < -10 and change["down"][1] > 10
    assert change["growing"][2] > 2 and change["shrinking"][2] < 0.5
    assert torch.equal(videos[0, :, 0], videos[0, :, -1]) and MOTIONS[0] == "still"


def test_judge_names_the_motion_of_drawn_videos() -> None:
    entries = [entry for entry in prompt_suites.load_suite("videos") if entry["layout"] == "single"][::3]
    assert {entry["motion"] for entry in entries} == set(MOTIONS)
    assert judge.motion_on_drawn(entries, num_frames=9) >= 0.85
    frozen = [entry | {"motion": "left"} for entry in entries if entry["motion"] == "still"]
    still = draw_videos([Scene((Thing("star", "red"),), "gray", "still")], seed=0, num_frames=9)[0]
    assert seen_motion(frozen[0], still) == "still"


@pytest.mark.parametrize("model", ["tiny_flux", "tiny_qwen", "tiny_hunyuan"])
def test_cards_are_filled_in(model: str, tmp_path: Path) -> None:
    config = read_options([f"model={model}", f"export_to={tmp_path}"])
    modules = [part.module for part in family(config).texts]
    metrics = {
        "training": {name: {"steps": 1234, "minutes": 5.0} for name in card.stages(config)},
        "parameters": dict.fromkeys(["transformer", "vae", *modules], 1),
        "text_reading": {part.name: {"shape": 0.5, "colour": 0.25} for part in family(config).texts},
        "vae_psnr": 30.0,
        "checker_on_drawn": dict.fromkeys(("shape", "colour", "fill", "scene"), 0.9),
        "suite": dict.fromkeys(("all", "motion", "all, fills", *prompt_suites.SCENES, *prompt_suites.VIDEOS), 0.8),
        "motion_on_drawn": 0.9,
        "suite_by_guidance": {"1.0": 0.1},
        "psnr_50_to_200": 50.0,
        "counts": dict.fromkeys(("suite", "floor", "checked", "reconstructed"), 8),
        "hardware": "an abacus",
    }
    readme.write_readme(config, metrics)
    text = (tmp_path / "README.md").read_text()
    assert f"# {model}" in text and "1,234" in text and "an abacus" in text


def test_twice_the_pixels_show_the_same_scene() -> None:
    scenes = some_scenes(4)
    small, large = (draw(scenes, torch.Generator().manual_seed(3), scale) for scale in (1, 2))
    assert large.shape == (4, 3, 128, 128)
    assert (nn.functional.avg_pool2d(large, 2) - small).abs().mean() < 0.02


def test_sigmas_are_those_of_flux_at_a_megapixel(micro: TinyConfig) -> None:
    scheduler = FluxPipeline.from_pretrained(micro.export_to).scheduler
    config = scheduler.config
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    assert config.base_shift + slope * (64 - config.base_image_seq_len) == pytest.approx(1.15)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / 50, 50).tolist(), mu=1.15)
    uniform = torch.linspace(1, 1 / 50, 50)
    shifted = torch.e**1.15 / (torch.e**1.15 + 1 / uniform - 1)
    torch.testing.assert_close(scheduler.sigmas[:-1].cpu(), shifted, atol=1e-5, rtol=0)


def test_captions_are_drawn_anew_but_scenes_are_not() -> None:
    config = TinyConfig(num_scenes=20)
    assert pictures.training_scenes(config) == pictures.training_scenes(config)


def test_judge_wants_the_right_things_in_the_right_order() -> None:
    looks = (("star", "red", 0), ("ring", "pink", 2))
    things = [{"shape": shape, "colour": colour, "fill": "plain", "cell": [1, k]} for shape, colour, k in looks]
    entry = {"layout": "beside", "objects": things}
    assert is_right(entry, {3: ("star", "red", "plain"), 5: ("ring", "pink", "dotted")})
    assert not is_right(entry, {3: ("star", "red", "plain"), 5: ("ring", "pink", "dotted")}, with_fill=True)
    assert not is_right(entry, {5: ("star", "red", "plain"), 3: ("ring", "pink", "plain")})
    assert not is_right(entry, {3: ("star", "red", "plain")})
    single = {"layout": "single", "objects": things[:1]}
    assert is_right(single, {3: ("star", "red", "plain")})
    assert not is_right(single, {4: ("star", "red", "plain")})


def test_checker_labels_follow_the_scene() -> None:
    scene = Scene((Thing("star", "red", row=0, column=2, fill="dotted"),), "sea")
    labels = checker.cell_labels([scene])
    assert labels["shape"][0].tolist() == [8, 8, 3, 8, 8, 8, 8, 8, 8]
    assert labels["colour"][0, 2] == 0
    assert labels["fill"][0, 2] == 2


@pytest.mark.parametrize(
    "option", ["flow_minuts=3", "stage=sleep", "model=flux_tiny", "caption_dropout=2", "picture_size=100"]
)
def test_bad_options_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=option.split("=")[0]):
        read_options([option])

"""Measure the shipped scorers on held-out drawn scenes and write their cards: `python -m embedded.scorer_cards`.

Needs the training's `output` folder, where the stages' steps are read.
"""

import json
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from embedded.card import hardware
from embedded.judging.checker import accuracy
from embedded.judging.damage import JITTER, STRENGTHS, Sample, damaged, fresh_sample, told_wrong
from embedded.judging.judge import motion_on_drawn
from embedded.judging.options import ScorerOptions, read_options
from embedded.judging.readme import TEMPLATES
from embedded.training.loop import stage_progress
from embedded.world.captions import caption
from embedded.world.prompt_suites import load_suite
from eval.metric import Batch
from eval.scene import checker, clip, reward
from eval.scene.files import scorer_folder, weight_file
from eval.scene.scorers import prompt_match, scene_clip_score, scene_reward
from experiments.errors import run_program

HELD_OUT_SEED = 50_000_017  # far from every training seed
DAMAGE_SEED = 1
CROWD = 100  # captions among which the right one is sought
VIDEO_FRAMES = 9
KINDS = {
    "noise": "noise, standard deviation in [-1, 1]",
    "blur": "Gaussian blur, pixels",
    "colour": "share of the way to other colours",
    "caption": "wrong shapes, colours and places named",
    "jitter": "moved right and down, pixels",
}

Score = Callable[[Batch], Tensor]


def score_damaged(score: Score, sample: Sample) -> dict[str, dict[str, Tensor]]:
    """Scores (B,) of a sample under every kind of damage and strength, and under jitter."""
    found: dict[str, dict[str, Tensor]] = {}
    for kind, strengths in {**STRENGTHS, "jitter": JITTER}.items():
        found[kind] = {}
        for strength in strengths:
            pictures, texts = damaged(sample, kind, strength, DAMAGE_SEED)
            images = (pictures + 1) / 2
            found[kind][f"{strength:g}"] = score(Batch(images, images, texts))
    return found


def summary(scores: dict[str, dict[str, Tensor]]) -> dict[str, Any]:
    """Mean by kind and strength, and the share of scenes whose undamaged picture with its caption scores higher."""
    means = {kind: {at: values.mean().item() for at, values in row.items()} for kind, row in scores.items()}
    ordered = {
        kind: {at: (row["0"] > values).float().mean().item() for at, values in row.items() if at != "0"}
        for kind, row in scores.items()
    }
    return {"mean": means, "undamaged_scores_higher": ordered}


def measure_checker(sample: Sample) -> dict[str, Any]:
    """How often the checker names attributes right, and motions."""
    suites = load_suite("videos") + load_suite("video_calibration")
    drawn = accuracy(checker.load_checker(), sample.scenes, sample.pictures)
    motion = motion_on_drawn(suites, VIDEO_FRAMES)
    return {"drawn": drawn, "motion": motion, "videos": len(suites)} | summary(score_damaged(prompt_match, sample))


def measure_clip(sample: Sample) -> dict[str, Any]:
    """How often the right caption has the highest score: of a hundred scenes', and beside one with one mistake."""
    network = clip.load_clip()
    seen, read = network.of_pictures(sample.pictures), network.of_texts(sample.texts)
    crowds = [s @ r.T for s, r in zip(seen.split(CROWD), read.split(CROWD), strict=True)]
    best = torch.cat([crowd.argmax(dim=1) == torch.arange(len(crowd)) for crowd in crowds])
    pictures = torch.cat([crowd.argmax(dim=0) == torch.arange(len(crowd)) for crowd in crowds])
    rng = random.Random(HELD_OUT_SEED)
    wrong = network.of_texts([caption(told_wrong(scene, rng), rng).text for scene in sample.scenes])
    retrieval = {
        "crowd": min(CROWD, len(sample.texts)),
        "caption": best.float().mean().item(),
        "picture": pictures.float().mean().item(),
        "one_mistake": ((seen * read).sum(-1) > (seen * wrong).sum(-1)).float().mean().item(),
    }
    return {"retrieval": retrieval} | summary(score_damaged(scene_clip_score, sample))


def measure_reward(sample: Sample) -> dict[str, Any]:
    """Mean and std over held-out scenes that were not those it was standardised on, and its falls."""
    scores = score_damaged(scene_reward, sample)
    clean = scores["noise"]["0"]
    return {"held_out": {"mean": clean.mean().item(), "std": clean.std().item()}} | summary(scores)


MEASURES = {
    checker.FOLDER: ("checker", measure_checker),
    clip.FOLDER: ("clip", measure_clip),
    reward.FOLDER: ("reward", measure_reward),
}


def write_cards(options: ScorerOptions) -> None:
    """README.md and metrics.json in each scorer's folder."""
    sample = fresh_sample(options.measured, HELD_OUT_SEED)
    for name, (stage, measure) in MEASURES.items():
        training = stage_progress(options.folder / f"{stage}.pt")
        facts = {"scenes": options.measured, "seed": HELD_OUT_SEED, "training_seed": options.seed + 1}
        metrics = measure(sample) | {"training": training | {"batch": options.batch}} | facts
        metrics["hardware"] = f"{hardware()}, torch {torch.__version__}"
        folder = scorer_folder(name)
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
        tables = {"falls": damage_table(metrics, 2 if stage == "checker" else 1 if stage == "clip" else 2)}
        size = weight_file(name).stat().st_size / 1e6
        text = (TEMPLATES / f"{name}.md").read_text().format(**metrics, **tables, megabytes=f"{size:.2f}")
        (folder / "README.md").write_text(text)
        print(f"{folder}: {json.dumps(metrics)}")


def damage_table(metrics: dict[str, Any], digits: int) -> str:
    """A row for every kind and strength: mean score, and the share of scenes that scored higher undamaged."""
    lines = ["| damage | strength | mean score | undamaged scores higher |", "|---|---:|---:|---:|"]
    for kind, row in metrics["mean"].items():
        for at, mean in row.items():
            share = metrics["undamaged_scores_higher"][kind].get(at)
            told = "-" if share is None else f"{share:.1%}"
            lines.append(f"| {KINDS[kind]} | {at} | {mean:.{digits}f} | {told} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Entry point."""
    torch.set_num_threads(1)
    write_cards(read_options(arguments))


if __name__ == "__main__":
    run_program(main)

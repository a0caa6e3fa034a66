"""Train the embedded models' scorers from nothing: `python -m embedded.train_scorers`, and write their cards.

Every stage writes a checkpoint under `output` and is skipped or resumed when that is found, also after a kill.
Options are `key=value`, see `embedded.judging.options.ScorerOptions`.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from embedded.judging.checker import train_checker
from embedded.judging.clip import clip_folder, train_clip
from embedded.judging.options import STAGES, ScorerOptions, read_options
from embedded.judging.reward import train_reward
from embedded.scorer_cards import write_cards
from eval.scene import checker, clip, reward
from eval.scene.files import scorer_folder
from experiments.errors import run_program


def export_checker(options: ScorerOptions) -> None:
    """The checker's folder, trained first where it is not."""
    trained = train_checker(options)
    folder = _new_folder(checker.FOLDER)
    _write_config(folder, {"model": {"width": trained.width}})
    _save(trained, folder / "model.safetensors")


def export_clip(options: ScorerOptions) -> None:
    """The scene CLIP's folder, which open_clip loads as `local-dir:`."""
    trained = train_clip(options)
    folder = _new_folder(clip.FOLDER)
    shutil.copytree(clip_folder(options), folder, dirs_exist_ok=True)
    _save(trained.network, folder / "open_clip_model.safetensors")


def export_reward(options: ScorerOptions) -> None:
    """The scene reward's folder."""
    trained = train_reward(options, train_clip(options))
    folder = _new_folder(reward.FOLDER)
    _write_config(folder, {"model": {"features": trained.features}})
    _save(trained, folder / "model.safetensors")


def _new_folder(name: str) -> Path:
    folder = scorer_folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_config(folder: Path, content: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n")


def _save(module: nn.Module, path: Path) -> None:
    """Weights in half precision; they load as float32."""
    save_file({name: value.half().contiguous() for name, value in module.state_dict().items()}, path)
    path.chmod(0o644)


def main(arguments: list[str]) -> None:
    """Entry point."""
    options = read_options(arguments)
    torch.set_num_threads(1 if options.device == "cpu" else 8)
    run = {"checker": export_checker, "clip": export_clip, "reward": export_reward, "card": write_cards}
    for name in STAGES[1:] if options.stage == "all" else (options.stage,):
        run[name](options)


if __name__ == "__main__":
    run_program(main)

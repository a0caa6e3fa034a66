"""Export the averaged weights as a diffusers folder that the real pipeline loads."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from embedded.families.registry import family
from embedded.training.flow import distil_trainer, flow_trainer
from embedded.training.loop import world
from embedded.training.options import TinyConfig
from embedded.training.text import Prompts
from embedded.training.vae import load_vae

KEPT = ("README.md", "grid.png", "metrics.json")


def trained_transformer(config: TinyConfig) -> Any:
    """The newest averaged weights: distilled ones if there are any, else the flow stage's.

    Raises:
        ValueError: Neither stage has a checkpoint.
    """
    for build in (distil_trainer, flow_trainer) if family(config).distilled else (flow_trainer,):
        trainer = build(config)
        if trainer.step > 0:
            trainer.copy_average()
            return trainer.module.eval().requires_grad_(False)
    raise ValueError(f"no trained transformer in {config.folder}: run stage=flow first")


def assemble(config: TinyConfig) -> Any:
    """The pipeline, in float32, from the checkpoints."""
    kind = family(config)
    return kind.pipeline(
        scheduler=kind.build_scheduler(),
        vae=load_vae(config),
        transformer=trained_transformer(config),
        **Prompts(config).components(),
    ).to("cpu")


def export(config: TinyConfig) -> None:
    """Write the folder beside its place, then swap it in, so that readers never see half of it.

    Weights are stored in half precision and load as float32.
    """
    if world()[0] != 0:
        return
    target = Path(config.export_to)
    fresh, stale = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    for folder in (fresh, stale):
        shutil.rmtree(folder, ignore_errors=True)
    assemble(config).to(torch.float16).save_pretrained(fresh, safe_serialization=True)
    for part in family(config).texts:
        _load_as_float32(fresh / part.module / "config.json")
    for path in fresh.rglob("tokenizer_config.json"):
        _forget_origin(path)
    for path in fresh.rglob("*.safetensors"):
        path.chmod(0o644)  # they are written for the owner only
    for name in KEPT:
        if (target / name).exists():
            shutil.copy2(target / name, fresh / name)
    if target.exists():
        target.rename(stale)
    fresh.rename(target)
    shutil.rmtree(stale, ignore_errors=True)


def _load_as_float32(path: Path) -> None:
    """Transformers loads weights in the dtype its config names, diffusers in float32: make them agree."""
    content = json.loads(path.read_text())
    for config in (content, *(part for part in content.values() if isinstance(part, dict) and "dtype" in part)):
        config["dtype"] = "float32"
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _forget_origin(path: Path) -> None:
    """Transformers notes that a tokenizer came from a local folder."""
    content = json.loads(path.read_text())
    kept = {key: value for key, value in content.items() if key not in ("is_local", "local_files_only")}
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")

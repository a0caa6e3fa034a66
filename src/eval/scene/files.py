"""The scorers' folders, shipped under `assets`: config.json, weights and a card."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from eval.metric import MetricUnavailable
from meancache.artifacts import checksum

ASSETS = Path(__file__).resolve().parents[3] / "assets"


def scorer_folder(name: str) -> Path:
    """The folder of a scorer."""
    return ASSETS / name


def weight_file(name: str) -> Path:
    """The weights of a scorer.

    Raises:
        MetricUnavailable: they are not there; the message says how to train them.
    """
    if missing := missing_weights(name):
        raise MetricUnavailable(missing)
    return next(scorer_folder(name).glob("*.safetensors"))


def missing_weights(*names: str) -> str:
    """What to do where the weights of scorers are not there; "" where they are."""
    lost = [str(scorer_folder(name)) for name in names if not list(scorer_folder(name).glob("*.safetensors"))]
    return f"no weights in {', '.join(lost)}: `python -m embedded.train_scorers` trains them again" if lost else ""


def read_config(name: str) -> dict[str, Any]:
    """What config.json beside a scorer's weights says."""
    return json.loads(weight_file(name).with_name("config.json").read_text())


@cache
def weights_checksum(name: str) -> str:
    """SHA-256 of a scorer's weights, its first twelve digits."""
    return checksum(weight_file(name).read_bytes())[:12]

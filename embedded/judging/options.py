"""Options of the scorers' training: one dataclass, `key=value` on the command line."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

STAGES = ("all", "checker", "clip", "reward", "card")


@dataclass
class ScorerOptions:
    """Everything a training of the scorers depends on; a stage ends after its minutes or steps."""

    stage: str = "all"
    output: str = "outputs/scorers"
    seed: int = 0
    checkpoint_minutes: float = 2.0
    num_scenes: int = 12_000
    batch: int = 64
    checker_minutes: float = 17.0
    checker_steps: int = 3_100
    clip_minutes: float = 19.0
    clip_steps: int = 3_000
    reward_minutes: float = 5.0
    reward_steps: int = 1_000
    measured: int = 500  # held-out scenes that the cards' numbers come from

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {STAGES}, got {self.stage!r}")

    @property
    def folder(self) -> Path:
        """Where checkpoints live."""
        return Path(self.output)

    @property
    def device(self) -> str:
        """A GPU when there is one."""
        return "cuda" if torch.cuda.is_available() else "cpu"


def read_options(arguments: list[str]) -> ScorerOptions:
    """Options from `key=value` words.

    Raises:
        ValueError: A key is unknown or a value does not fit; the message lists the keys.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(ScorerOptions), OmegaConf.from_dotlist(arguments))
    except OmegaConfBaseException as error:
        names = ", ".join(field.name for field in fields(ScorerOptions))
        raise ValueError(f"{error}\nOptions are key=value with keys: {names}") from error
    return cast(ScorerOptions, OmegaConf.to_object(merged))

"""The configuration of `run.py` for the other commands and the tests."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from meancache.config import RunConfig, parse_config

CONF = Path(__file__).resolve().parents[1] / "conf"


def compose_raw(overrides: Sequence[str] = ()) -> DictConfig:
    """What Hydra composes from conf/ and these overrides."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("config", overrides=list(overrides))


def compose_config(overrides: Sequence[str] = ()) -> RunConfig:
    """The same, checked and typed."""
    return parse_config(compose_raw(overrides))

"""Options of the embedded models' training: one dataclass, `key=value` on the command line."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eval.scene.draw import SIZE

# A model's own defaults; all else is shared. `embedded.families.family` holds what differs in code.
MODELS: dict[str, dict[str, object]] = {
    "tiny_flux": {},
    "tiny_qwen": {
        "processes": 1,
        "compile": False,
        "num_scenes": 16_000,
        "picture_size": 128,
        "latent_channels": 12,
        "num_layers": 5,
        "num_single_layers": 0,
        "text_minutes": 21.0,
        "vae_minutes": 45.0,
        "flow_minutes": 140.0,
        "decoder_minutes": 8.0,
    },
    "tiny_hunyuan": {
        "processes": 1,
        "compile": False,
        "num_scenes": 8_000,
        "num_frames": 9,
        "latent_channels": 12,
        "text_minutes": 36.0,
        "text_steps": 3_700,
        "vae_batch": 4,
        "vae_minutes": 115.0,
        "images_minutes": 130.0,
        "flow_minutes": 90.0,
        "sigma_logit_mean": 1.2,
        "distil_max_guidance": 7.0,
        "distil_minutes": 20.0,
        "distil_lr": 1e-3,
        "decoder_minutes": 40.0,
    },
}
STAGES = ("all", "pictures", "text", "vae", "latents", "images", "flow", "distil", "decoder", "export")


@dataclass
class TinyConfig:
    """Everything a training run depends on.

    A `*_minutes` option is the wall clock of a stage, a `*_steps` option its number of optimiser steps; a stage ends at
    whichever comes first and its learning rate decays towards that end.
    """

    model: str = "tiny_flux"
    stage: str = "all"
    output: str = ""  # outputs/<model>
    export_to: str = ""  # assets/<model>
    seed: int = 0
    processes: int = 0  # 0: one with a GPU, else two (one thread each)
    compile: bool = True
    checkpoint_minutes: float = 3.0
    num_scenes: int = 24_000
    picture_size: int = 64
    num_frames: int = 1
    text_minutes: float = 5.0
    text_steps: int = 2_000
    text_batch: int = 128
    vae_minutes: float = 21.0
    vae_steps: int = 20_000
    vae_batch: int = 8
    vae_lr: float = 2e-3
    vae_kl: float = 1e-6
    vae_stills: float = 0.3  # share of a video model's stage that sees single frames, which are cheap
    vae_pieces: float = 0.5  # share that sees pieces which move
    decoder_minutes: float = 3.0
    decoder_steps: int = 20_000
    decoder_lr: float = 1e-3
    images_minutes: float = 0.0  # single frames first, as video models do
    images_steps: int = 200_000
    flow_minutes: float = 53.0
    flow_steps: int = 200_000
    flow_batch: int = 32
    flow_lr: float = 2e-3
    flow_ema: float = 0.999
    sigma_logit_mean: float = 0.7  # towards noise, where 50 steps with a time shift spend their time
    sigma_logit_std: float = 1.3
    caption_dropout: float = 0.1
    distil_minutes: float = 8.0
    distil_steps: int = 20_000
    distil_lr: float = 5e-4
    distil_ema: float = 0.99
    distil_max_guidance: float = 5.0
    student_minutes: float = 25.0
    student_steps: int = 20_000
    latent_channels: int = 6
    width_text: int = 128
    num_layers: int = 2
    num_single_layers: int = 4
    num_heads: int = 2
    head_dim: int = 64

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"model must be one of {tuple(MODELS)}, got {self.model!r}")
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {STAGES}, got {self.stage!r}")
        if self.head_dim % 8 or self.head_dim < 16:
            raise ValueError(f"head_dim must be a multiple of 8 and at least 16, got {self.head_dim}")
        if not 0 <= self.caption_dropout < 1:
            raise ValueError(f"caption_dropout must lie in [0, 1), got {self.caption_dropout}")
        if self.picture_size % SIZE:
            raise ValueError(f"picture_size must be a multiple of {SIZE}, got {self.picture_size}")
        self.output = self.output or f"outputs/{self.model}"
        self.export_to = self.export_to or f"assets/{self.model}"

    @property
    def folder(self) -> Path:
        """Where checkpoints and caches live."""
        return Path(self.output)

    @property
    def is_video(self) -> bool:
        """Whether it draws videos."""
        return self.num_frames > 1

    @property
    def device(self) -> str:
        """A GPU when there is one."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def world_size(self) -> int:
        """Number of training processes."""
        return self.processes or (1 if self.device == "cuda" else 2)


def read_options(arguments: list[str]) -> TinyConfig:
    """Options from `key=value` words, over the model's own defaults.

    Raises:
        ValueError: A key is unknown or a value does not fit; the message lists the keys.
    """
    try:
        options = OmegaConf.from_dotlist(arguments)
        defaults = MODELS.get(options.get("model", TinyConfig.model), {})
        merged = OmegaConf.merge(OmegaConf.structured(TinyConfig), defaults, options)
    except OmegaConfBaseException as error:
        names = ", ".join(field.name for field in fields(TinyConfig))
        raise ValueError(f"{error}\nOptions are key=value with keys: {names}") from error
    return cast(TinyConfig, OmegaConf.to_object(merged))

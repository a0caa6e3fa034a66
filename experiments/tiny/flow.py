"""Train the denoiser: flow matching on cached latents, then guidance distillation as in FLUX.1-dev.

The forward pass is the one of `FluxPipeline.__call__`: packed latents, padded T5 tokens without a mask, pooled CLIP,
timestep = sigma, guidance as an input.
"""

import random

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import Tensor, nn

from experiments.tiny.captions import caption
from experiments.tiny.config import TinyConfig
from experiments.tiny.draw import SIZE
from experiments.tiny.loop import Fit, Trainer, world
from experiments.tiny.models import build_transformer
from experiments.tiny.pictures import training_scenes
from experiments.tiny.text import encoders, token_ids
from experiments.tiny.tokens import T5_LENGTH
from experiments.tiny.vae import latents_file

SIGMA_LOGIT_MEAN, SIGMA_LOGIT_STD = 0.7, 1.3  # towards noise, where 50 steps with mu = 1.15 spend their time
SIDE = SIZE // 4


class Batches:
    """Draws (packed latents, T5 states, pooled CLIP) of random scenes with fresh captions."""

    def __init__(self, config: TinyConfig) -> None:
        """Load cached latents, scenes and the frozen text encoders."""
        self.config = config
        self.latents = torch.load(latents_file(config), weights_only=True)["latents"]
        self.scenes = training_scenes(config)
        self.clip_tokenizer, self.clip, self.t5_tokenizer, self.t5 = encoders(config)

    @torch.no_grad()
    def encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """T5 states (B, L, D) and pooled CLIP (B, D) of prompts."""
        device = self.config.device
        states = self.t5(token_ids(self.t5_tokenizer, texts).to(device)).last_hidden_state
        return states, self.clip(token_ids(self.clip_tokenizer, texts).to(device)).pooler_output

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (B, tokens, 4 C), T5 states and pooled CLIP; some captions are dropped for guidance."""
        rows = torch.randint(len(self.latents), (count,), generator=generator).tolist()
        rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
        texts = [caption(self.scenes[row], rng).text for row in rows]
        texts = ["" if rng.random() < self.config.caption_dropout else text for text in texts]
        latents = self.latents[rows].float()
        packed = FluxPipeline._pack_latents(latents, count, latents.shape[1], SIDE, SIDE)
        return packed.to(self.config.device), *self.encode(texts)


class Velocity(nn.Module):
    """The transformer as the pipeline calls it."""

    def __init__(self, transformer: FluxTransformer2DModel, compiled: bool = False) -> None:
        super().__init__()
        self.transformer = transformer
        self.call = [torch.compile(transformer) if compiled else transformer]  # in a list: not a second submodule

    def forward(self, latents: Tensor, sigmas: Tensor, guidance: Tensor, states: Tensor, pooled: Tensor) -> Tensor:
        """Velocity (B, tokens, 4 C) at noise levels sigmas (B,)."""
        device = latents.device
        return self.call[0](
            hidden_states=latents,
            timestep=sigmas,
            guidance=guidance,
            pooled_projections=pooled,
            encoder_hidden_states=states,
            txt_ids=torch.zeros(T5_LENGTH, 3, device=device),
            img_ids=FluxPipeline._prepare_latent_image_ids(1, SIDE // 2, SIDE // 2, device, torch.float32),
            return_dict=False,
        )[0]


def start_as_identity(transformer: FluxTransformer2DModel) -> None:
    """Zero the modulations and the output layer, as DiT does, so that every block starts as the identity."""
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and (name.endswith(("norm.linear", "norm1.linear", "norm1_context.linear"))):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.zeros_(transformer.proj_out.weight)
    nn.init.zeros_(transformer.proj_out.bias)


def noisy(clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Points on straight paths from data to noise: (latents, sigmas (B,), velocity = noise - data)."""
    normal = torch.randn(len(clean), generator=generator)
    sigmas = (SIGMA_LOGIT_MEAN + SIGMA_LOGIT_STD * normal).sigmoid().to(clean)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return torch.lerp(clean, noise, sigmas[:, None, None]), sigmas, noise - clean


def random_guidance(config: TinyConfig, count: int, generator: torch.Generator) -> Tensor:
    """Guidance scales (count,), uniform between 1 and the largest one to learn."""
    return 1 + (config.distil_max_guidance - 1) * torch.rand(count, generator=generator)


def flow_trainer(config: TinyConfig) -> Trainer:
    """The flow stage, resumed where it was left."""
    torch.manual_seed(config.seed)
    transformer = build_transformer(config)
    start_as_identity(transformer)
    return Trainer(transformer, _fit(config, "flow", config.flow_lr), config.folder, config.device)


def distil_trainer(config: TinyConfig) -> Trainer:
    """The distillation stage; it starts from the flow stage's averaged weights."""
    flow = flow_trainer(config)
    flow.copy_average()
    return Trainer(flow.module, _fit(config, "distil", config.distil_lr), config.folder, config.device)


def _fit(config: TinyConfig, name: str, lr: float) -> Fit:
    minutes, steps = getattr(config, f"{name}_minutes"), getattr(config, f"{name}_steps")
    return Fit(
        name=name,
        minutes=minutes,
        steps=steps,
        lr=lr,
        seed=config.seed,
        ema=config.flow_ema if name == "flow" else config.distil_ema,
        checkpoint_minutes=config.checkpoint_minutes,
    )


def train_flow(config: TinyConfig) -> None:
    """Regress the velocity.

    Guidance is fed at random and means nothing yet, so that a half-trained export works with any guidance.
    """
    trainer, batches = flow_trainer(config), Batches(config)
    velocity, share = Velocity(trainer.module, config.compile), config.flow_batch // world()[1]

    def loss_of(generator: torch.Generator) -> Tensor:
        clean, states, pooled = batches.draw(share, generator)
        latents, sigmas, target = noisy(clean, generator)
        guidance = random_guidance(config, share, generator).to(sigmas)
        predicted = velocity(latents, sigmas, guidance, states, pooled)
        return (predicted - target).square().mean()

    trainer.run(loss_of)


def train_distil(config: TinyConfig) -> None:
    """Teach the guidance input w to stand for v_uncond + w (v_cond - v_uncond) of the frozen flow model."""
    trainer, batches = distil_trainer(config), Batches(config)
    frozen = flow_trainer(config)
    frozen.copy_average()
    student = Velocity(trainer.module, config.compile)
    teacher = Velocity(frozen.module.requires_grad_(False))
    share = config.flow_batch // world()[1]
    empty_states, empty_pooled = batches.encode([""])

    def loss_of(generator: torch.Generator) -> Tensor:
        clean, states, pooled = batches.draw(share, generator)
        latents, sigmas, _ = noisy(clean, generator)
        guidance = random_guidance(config, share, generator).to(sigmas)
        with torch.no_grad():
            one = torch.ones_like(sigmas)
            uncond = teacher(latents, sigmas, one, empty_states.expand_as(states), empty_pooled.expand_as(pooled))
            cond = teacher(latents, sigmas, one, states, pooled)
            target = uncond + guidance[:, None, None] * (cond - uncond)
        return (student(latents, sigmas, guidance, states, pooled) - target).square().mean()

    trainer.run(loss_of)

"""Train the denoiser: flow matching on cached latents, then guidance distillation as in FLUX.1-dev.

The forward pass is the one of the pipeline's `__call__`: packed latents, what the text encoders hand over, timestep =
sigma (times the model's clock), guidance as an input where the model has one. A video model meets single frames first.
"""

import random
from typing import Any

import torch
from torch import Tensor, nn

from embedded.families.family import Conditions
from embedded.families.registry import family
from embedded.training.loop import Fit, Trainer, world
from embedded.training.options import TinyConfig
from embedded.training.pictures import training_scenes
from embedded.training.text import Prompts, caption_batch
from embedded.training.vae import latents_file
from embedded.world.captions import caption

IDENTITY_AT_START = ("norm.linear", "norm1.linear", "norm1_context.linear", "img_mod.1", "txt_mod.1")


class Batches:
    """Draws packed latents of random scenes with what the denoiser is told of fresh captions."""

    def __init__(self, config: TinyConfig) -> None:
        """Load cached latents, scenes and the frozen text encoders."""
        self.config = config
        self.latents = torch.load(latents_file(config), weights_only=True)["latents"]
        self.scenes = training_scenes(config)
        self.family, self.prompts = family(config), Prompts(config)

    @property
    def layout(self) -> Conditions:
        """Where the tokens stand."""
        return self.family.layout(self.latents.shape[-1] // 2, self.config.device)

    def draw(self, count: int, generator: torch.Generator, stills: bool = False) -> tuple[Tensor, Conditions]:
        """Packed latents and conditions; some captions are dropped for guidance.

        Args:
            count: B of them.
            generator: Source of all choices.
            stills: Of videos, the first frames as pictures. Captions name the motion: it says where things start.
        """
        rows = torch.randint(len(self.latents), (count,), generator=generator).tolist()
        rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
        texts = [caption(self.scenes[row], rng).text for row in rows]
        texts = [self.family.nothing if rng.random() < self.config.caption_dropout else text for text in texts]
        latents = (self.latents[rows, :, :1] if stills else self.latents[rows]).float()
        return self.family.pack(latents).to(self.config.device), self.prompts(texts)


class Velocity(nn.Module):
    """The transformer as the pipeline calls it."""

    def __init__(self, transformer: Any, batches: Batches, compiled: bool = False) -> None:
        super().__init__()
        self.transformer, self.layout, self.clock = transformer, batches.layout, batches.family.clock
        self.call = [torch.compile(transformer) if compiled else transformer]  # in a list: not a second submodule

    def forward(self, latents: Tensor, sigmas: Tensor, guidance: Tensor, told: Conditions) -> Tensor:
        """Velocity, of the latents' shape, at noise levels sigmas (B,)."""
        has_input = self.transformer.config.guidance_embeds
        return self.call[0](
            hidden_states=latents,
            timestep=sigmas * self.clock,
            guidance=guidance * self.clock if has_input else None,
            return_dict=False,
            **told,
            **self.layout,
        )[0]


def start_as_identity(transformer: nn.Module) -> None:
    """Zero the modulations and the output layer, as DiT does, so that every block starts as the identity."""
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and (name.endswith(IDENTITY_AT_START) or name == "proj_out"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def start_as_whitening(layer: nn.Linear, states: Tensor) -> None:
    """Let a layer start by whitening the states (N, D) it reads.

    Inner states of a language model, which no norm has scaled, vary hundreds of times more in some directions than in
    others, and a denoiser learns late what the quiet ones say.
    """
    values, vectors = torch.linalg.eigh(torch.cov(states.T.double()))
    whitening = (vectors / values.clamp(min=1e-4).sqrt()).to(states)
    with torch.no_grad():
        nn.init.orthogonal_(layer.weight)
        layer.weight.copy_(layer.weight @ whitening.T)
        layer.bias.copy_(-layer.weight @ states.mean(0))


def noisy(config: TinyConfig, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Points on straight paths from data to noise: (latents, sigmas (B,), velocity = noise - data)."""
    normal = torch.randn(len(clean), generator=generator)
    sigmas = (config.sigma_logit_mean + config.sigma_logit_std * normal).sigmoid().to(clean)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return torch.lerp(clean, noise, spread(sigmas, clean)), sigmas, noise - clean


def spread(values: Tensor, latents: Tensor) -> Tensor:
    """One value per sample (B,), shaped to multiply latents (B, ...)."""
    return values.view(-1, *(1,) * (latents.dim() - 1))


def random_guidance(config: TinyConfig, count: int, generator: torch.Generator) -> Tensor:
    """Guidance scales (count,), uniform between 1 and the largest one to learn."""
    return 1 + (config.distil_max_guidance - 1) * torch.rand(count, generator=generator)


def images_trainer(config: TinyConfig) -> Trainer:
    """The stage on single frames, from new weights or resumed where it was left."""
    torch.manual_seed(config.seed)
    transformer = family(config).build_transformer(config)
    start_as_identity(transformer)
    if layer := family(config).whitens:
        start_as_whitening(transformer.get_submodule(layer), _states_of_words(config))
    return Trainer(transformer, _fit(config, "images", config.flow_lr), config.folder, config.device)


def _states_of_words(config: TinyConfig) -> Tensor:
    """What the denoiser reads of 1000 captions, word by word (N, D)."""
    told = Prompts(config)(caption_batch(1000, config.seed, config.is_video)[0])
    return told["encoder_hidden_states"][told["encoder_attention_mask"].bool()].cpu()


def flow_trainer(config: TinyConfig) -> Trainer:
    """The flow stage; a video model starts it from the averaged weights of the stage on single frames."""
    images = images_trainer(config)
    images.copy_average()
    return Trainer(images.module, _fit(config, "flow", config.flow_lr), config.folder, config.device)


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
        ema=config.distil_ema if name == "distil" else config.flow_ema,
        checkpoint_minutes=config.checkpoint_minutes,
    )


def train_images(config: TinyConfig) -> None:
    """Regress the velocity of first frames: a third of the tokens, and all but the motion to be learned."""
    _train_velocity(config, images_trainer(config), stills=True)


def train_flow(config: TinyConfig) -> None:
    """Regress the velocity."""
    _train_velocity(config, flow_trainer(config), stills=False)


def _train_velocity(config: TinyConfig, trainer: Trainer, stills: bool) -> None:
    """Guidance is fed at random and means nothing yet, so that a half-trained export works with any guidance."""
    batches = Batches(config)
    velocity = Velocity(trainer.module, batches, config.compile)
    share = config.flow_batch // world()[1]

    def loss_of(generator: torch.Generator) -> Tensor:
        clean, told = batches.draw(share, generator, stills)
        latents, sigmas, target = noisy(config, clean, generator)
        guidance = random_guidance(config, share, generator).to(sigmas)
        predicted = velocity(latents, sigmas, guidance, told)
        return (predicted - target).square().mean()

    trainer.run(loss_of)


def train_distil(config: TinyConfig) -> None:
    """Teach the guidance input w to stand for v_uncond + w (v_cond - v_uncond) of the frozen flow model."""
    trainer, batches = distil_trainer(config), Batches(config)
    frozen = flow_trainer(config)
    frozen.copy_average()
    student = Velocity(trainer.module, batches, config.compile)
    teacher = Velocity(frozen.module.requires_grad_(False), batches)
    share = config.flow_batch // world()[1]
    nothing = batches.prompts([batches.family.nothing])

    def loss_of(generator: torch.Generator) -> Tensor:
        clean, told = batches.draw(share, generator)
        latents, sigmas, _ = noisy(config, clean, generator)
        guidance = random_guidance(config, share, generator).to(sigmas)
        with torch.no_grad():
            one = torch.ones_like(sigmas)
            uncond = teacher(latents, sigmas, one, {name: nothing[name].expand_as(told[name]) for name in told})
            cond = teacher(latents, sigmas, one, told)
            target = uncond + spread(guidance, cond) * (cond - uncond)
        return (student(latents, sigmas, guidance, told) - target).square().mean()

    trainer.run(loss_of)

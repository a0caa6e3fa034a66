"""Pre-train text encoders on captions alone: name every cell's object, colour, fill and size, background and motion.

The encoders are frozen afterwards. They also meet the synonyms of `captions.RARE`, which no picture is captioned with.
"""

import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedded.families.family import Conditions, TextPart
from embedded.families.registry import family
from embedded.families.tokenizers import corpus
from embedded.training.loop import Fit, Trainer, barrier, world
from embedded.training.options import TinyConfig
from embedded.world.captions import caption
from embedded.world.scenes import sample_scene
from eval.scene.world import BACKGROUNDS, COLOURS, FILLS, GRID, MOTIONS, SHAPES, SIZES

CELLS = GRID * GRID
CLASSES = {"shape": len(SHAPES) + 1, "colour": len(COLOURS), "fill": len(FILLS), "size": len(SIZES)}
IGNORE = -100
EMPTY_WEIGHT = 0.2  # five of six cells are empty: with equal weights a causal encoder never got to telling shapes apart


def caption_batch(count: int, seed: int, moving: bool = False) -> tuple[list[str], dict[str, Tensor]]:
    """Captions and what they say: {"shape": (B, cells), ..., "background": (B,)}, `IGNORE` where silent.

    Captions of videos (`moving`) also say "motion": (B,).
    """
    rng = random.Random(seed)
    labels = {name: torch.full((count, CELLS), IGNORE) for name in CLASSES}
    labels["shape"].fill_(len(SHAPES))
    labels["background"] = torch.full((count,), IGNORE)
    texts, motions = [], []
    for k in range(count):
        scene = sample_scene(rng, moving=moving)
        words = caption(scene, rng, rare=rng.random() < 0.3)
        texts.append(words.text)
        for thing, sized in zip(scene.things, words.sizes_named, strict=True):
            cell = thing.row * GRID + thing.column
            labels["shape"][k, cell] = SHAPES.index(thing.shape)
            labels["colour"][k, cell] = COLOURS.index(thing.colour)
            labels["fill"][k, cell] = FILLS.index(thing.fill)
            labels["size"][k, cell] = SIZES.index(thing.size) if sized else IGNORE
        if words.background_named:
            labels["background"][k] = BACKGROUNDS.index(scene.background)
        motions.append(scene.motion)
    if moving:
        labels["motion"] = torch.tensor([MOTIONS.index(name) for name in motions])
    return texts, labels


class Reader(nn.Module):
    """A text encoder with the head that reads cells from it; only the encoder is kept.

    Tokens: one learned query per cell (and one for the background and the motion) attends to all of them. Pooled: a
    linear layer spreads the one vector over as many slots.
    """

    def __init__(self, encoder: nn.Module, width: int, pooled: bool, moving: bool) -> None:
        super().__init__()
        self.encoder, self.pooled = encoder, pooled
        if pooled:
            self.spread = nn.Linear(width, (CELLS + 1) * width)
        else:
            self.queries = nn.Parameter(torch.randn(1, CELLS + 1, width))
            self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.head = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU())
        self.heads = nn.ModuleDict({name: nn.Linear(2 * width, count) for name, count in CLASSES.items()})
        self.background = nn.Linear(2 * width, len(BACKGROUNDS))
        self.motion = nn.Linear(2 * width, len(MOTIONS)) if moving else None

    def forward(self, read: Conditions) -> dict[str, Tensor]:
        """Logits of what the encoder reads: {"shape": (B, cells, classes), ..., "background": (B, classes)}."""
        if self.pooled:
            slots = self.spread(read["pooled_projections"]).unflatten(-1, (CELLS + 1, -1))
        else:
            states = read["encoder_hidden_states"]
            mask = read.get("encoder_hidden_states_mask", read.get("encoder_attention_mask"))
            padding = None if mask is None else mask == 0
            queries = self.queries.expand(len(states), -1, -1)
            slots = self.attention(queries, states, states, key_padding_mask=padding, need_weights=False)[0]
        slots = self.head(slots)
        logits = {name: head(slots[:, :-1]) for name, head in self.heads.items()}
        logits["background"] = self.background(slots[:, -1])
        return logits if self.motion is None else logits | {"motion": self.motion(slots[:, -1])}


def reading_loss(logits: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
    """Sum of the cross entropies of all that a caption names."""
    losses = []
    for name, target in labels.items():
        flat = logits[name].flatten(0, -2)
        weight = flat.new_ones(flat.shape[-1])
        if name == "shape":
            weight[-1] = EMPTY_WEIGHT
        loss = functional.cross_entropy(flat, target.flatten().to(flat.device), weight, ignore_index=IGNORE)
        losses.append(loss)
    return torch.stack(losses).sum()


def train_text(config: TinyConfig) -> None:
    """Train the first encoder on the first process, the second on the last one; with a single process, in turn."""
    rank, size = world()
    for k, part in enumerate(family(config).texts):
        if rank == k * (size - 1):
            _train_reader(config, part)
    barrier()


def _train_reader(config: TinyConfig, part: TextPart) -> None:
    tokenizer, reader = _new_reader(config, part)
    trainer = Trainer(reader, _fit(config, part), config.folder, config.device, alone=True)

    def loss_of(generator: torch.Generator) -> Tensor:
        texts, labels = caption_batch(
            config.text_batch, int(torch.randint(2**62, (), generator=generator)), config.is_video
        )
        return reading_loss(reader(part.encode(tokenizer, reader.encoder, texts)), labels)

    trainer.run(loss_of)


def _fit(config: TinyConfig, part: TextPart) -> Fit:
    return Fit(
        name=part.name,
        minutes=config.text_minutes,
        steps=config.text_steps,
        lr=part.lr,
        seed=config.seed,
        ema=0.99,
        checkpoint_minutes=config.checkpoint_minutes,
    )


def _tokenizer(config: TinyConfig, part: TextPart) -> Any:
    """The tokenizer kept beside the checkpoints; built once.

    Built anew at every start it would be a trap: one more template in the captions, and learned words get other ids.
    """
    folder = config.folder / f"{part.name}_tokenizer"
    if not folder.exists():
        part.build_tokenizer(corpus(moving=config.is_video)).save_pretrained(folder.with_suffix(".tmp"))
        folder.with_suffix(".tmp").rename(folder)
    return part.tokenizer_class.from_pretrained(folder)


def _new_reader(config: TinyConfig, part: TextPart) -> tuple[Any, Reader]:
    tokenizer = _tokenizer(config, part)
    torch.manual_seed(config.seed)
    return tokenizer, Reader(part.build(config, tokenizer), config.width_text, part.pooled, config.is_video)


def load_reader(config: TinyConfig, part: TextPart) -> tuple[Any, Reader]:
    """A trained encoder with its tokenizer and reading head, frozen, with averaged weights.

    Raises:
        ValueError: It was not trained yet.
    """
    tokenizer, reader = _new_reader(config, part)
    trainer = Trainer(reader, _fit(config, part), config.folder, config.device)
    if trainer.step == 0:
        raise ValueError(f"no trained {part.name} in {config.folder}: run stage=text first")
    trainer.copy_average()
    return tokenizer, reader.eval().requires_grad_(False)


@torch.no_grad()
def reading_accuracy(config: TinyConfig, part: TextPart, count: int = 1000) -> dict[str, float]:
    """Share of new captions' attributes that the encoder's head names right."""
    tokenizer, reader = load_reader(config, part)
    texts, labels = caption_batch(count, 2**40 + config.seed, config.is_video)
    logits = reader(part.encode(tokenizer, reader.encoder, texts))
    right = {}
    for key, target in labels.items():
        known = target != IGNORE
        right[key] = (logits[key].argmax(-1).cpu() == target)[known].float().mean().item()
    return right


class Prompts:
    """The frozen text side of a pipeline."""

    def __init__(self, config: TinyConfig) -> None:
        """Load every text encoder of the model."""
        self.parts = [(part, *load_reader(config, part)) for part in family(config).texts]

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> Conditions:
        """What the denoiser is told of prompts."""
        told: Conditions = {}
        for part, tokenizer, reader in self.parts:
            told |= part.encode(tokenizer, reader.encoder, texts)
        return told

    def components(self) -> dict[str, Any]:
        """Encoders and tokenizers by their names in the pipeline."""
        named: dict[str, Any] = {}
        for part, tokenizer, reader in self.parts:
            named |= {part.module: reader.encoder, part.tokenizer: tokenizer}
        return named

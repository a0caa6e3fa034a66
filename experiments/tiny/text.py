"""Pre-train the text encoders on captions alone: name every cell's object, colour, fill and size, and the background.

The encoders are frozen afterwards. They also meet the synonyms of `captions.RARE`, which no picture is captioned with.
"""

import random

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from experiments.tiny import models, tokens
from experiments.tiny.captions import caption
from experiments.tiny.config import TinyConfig
from experiments.tiny.loop import Fit, Trainer, barrier, world
from experiments.tiny.scenes import BACKGROUNDS, COLOURS, FILLS, GRID, SHAPES, SIZES, sample_scene

CELLS = GRID * GRID
CLASSES = {"shape": len(SHAPES) + 1, "colour": len(COLOURS), "fill": len(FILLS), "size": len(SIZES)}
IGNORE = -100
TOKENIZERS = {
    "clip": (CLIPTokenizer, tokens.build_clip_tokenizer),
    "t5": (T5TokenizerFast, tokens.build_t5_tokenizer),
}


def caption_batch(count: int, seed: int) -> tuple[list[str], dict[str, Tensor]]:
    """Captions and what they say: {"shape": (B, cells), ..., "background": (B,)}, `IGNORE` where silent."""
    rng = random.Random(seed)
    labels = {name: torch.full((count, CELLS), IGNORE) for name in CLASSES}
    labels["shape"].fill_(len(SHAPES))
    labels["background"] = torch.full((count,), IGNORE)
    texts = []
    for k in range(count):
        scene = sample_scene(rng)
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
    return texts, labels


class Reader(nn.Module):
    """A text encoder with the head that reads cells from it; only the encoder is kept.

    T5: one learned query per cell (and one for the background) attends to all tokens. CLIP: a linear layer spreads the
    pooled output over as many slots.
    """

    def __init__(self, encoder: nn.Module, width: int, pooled: bool) -> None:
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

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        """Logits of token ids (B, L): {"shape": (B, cells, classes), ..., "background": (B, classes)}."""
        output = self.encoder(ids)
        if self.pooled:
            slots = self.spread(output.pooler_output).unflatten(-1, (CELLS + 1, -1))
        else:
            states = output.last_hidden_state
            slots = self.attention(self.queries.expand(len(ids), -1, -1), states, states, need_weights=False)[0]
        slots = self.head(slots)
        logits = {name: head(slots[:, :-1]) for name, head in self.heads.items()}
        return logits | {"background": self.background(slots[:, -1])}


def reading_loss(logits: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
    """Sum of the cross entropies of all that a caption names."""
    losses = []
    for name, target in labels.items():
        flat = logits[name].flatten(0, -2)
        losses.append(functional.cross_entropy(flat, target.flatten().to(flat.device), ignore_index=IGNORE))
    return torch.stack(losses).sum()


def token_ids(tokenizer: CLIPTokenizer | T5TokenizerFast, texts: list[str]) -> Tensor:
    """Token ids (B, max_length), padded and cut exactly as FluxPipeline does."""
    length = tokenizer.model_max_length
    return tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids


def train_text(config: TinyConfig) -> None:
    """Train T5 on the first process and CLIP on the last one; with a single process, one after the other."""
    rank, size = world()
    jobs = [("t5", rank == 0), ("clip", rank == size - 1)]
    for name, mine in jobs:
        if mine:
            _train_reader(config, name)
    barrier()


def _train_reader(config: TinyConfig, name: str) -> None:
    tokenizer, reader = _new_reader(config, name)
    trainer = Trainer(reader, _fit(config, name), config.folder, config.device, alone=True)

    def loss_of(generator: torch.Generator) -> Tensor:
        texts, labels = caption_batch(config.text_batch, int(torch.randint(2**62, (), generator=generator)))
        return reading_loss(reader(token_ids(tokenizer, texts).to(config.device)), labels)

    trainer.run(loss_of)


def _fit(config: TinyConfig, name: str) -> Fit:
    """Both encoders train alike; T5 takes larger steps."""
    return Fit(
        name=name,
        minutes=config.text_minutes,
        steps=config.text_steps,
        lr=1e-3 if name == "clip" else 2e-3,
        seed=config.seed,
        ema=0.99,
        checkpoint_minutes=config.checkpoint_minutes,
    )


def _tokenizer(config: TinyConfig, name: str) -> CLIPTokenizer | T5TokenizerFast:
    """The tokenizer kept beside the checkpoints; built once.

    Built anew at every start it would be a trap: one more template in the captions, and learned words get other ids.
    """
    folder = config.folder / f"{name}_tokenizer"
    kind, build = TOKENIZERS[name]
    if not folder.exists():
        build(tokens.corpus()).save_pretrained(folder.with_suffix(".tmp"))
        folder.with_suffix(".tmp").rename(folder)
    return kind.from_pretrained(folder)


def _new_reader(config: TinyConfig, name: str) -> tuple[CLIPTokenizer | T5TokenizerFast, Reader]:
    tokenizer = _tokenizer(config, name)
    torch.manual_seed(config.seed)
    build = models.build_clip if name == "clip" else models.build_t5
    return tokenizer, Reader(build(config, tokenizer), config.width_text, pooled=name == "clip")


def load_reader(config: TinyConfig, name: str) -> tuple[CLIPTokenizer | T5TokenizerFast, Reader]:
    """A trained encoder ("t5" or "clip") with its tokenizer and reading head, frozen, with averaged weights."""
    tokenizer, reader = _new_reader(config, name)
    trainer = Trainer(reader, _fit(config, name), config.folder, config.device)
    if trainer.step == 0:
        raise ValueError(f"no trained {name} in {config.folder}: run stage=text first")
    trainer.copy_average()
    return tokenizer, reader.eval().requires_grad_(False)


@torch.no_grad()
def reading_accuracy(config: TinyConfig, name: str, count: int = 1000) -> dict[str, float]:
    """Share of new captions' attributes that the encoder's head names right."""
    tokenizer, reader = load_reader(config, name)
    texts, labels = caption_batch(count, seed=2**40 + config.seed)
    logits = reader(token_ids(tokenizer, texts).to(config.device))
    right = {}
    for key, target in labels.items():
        known = target != IGNORE
        right[key] = (logits[key].argmax(-1).cpu() == target)[known].float().mean().item()
    return right


def encoders(config: TinyConfig) -> tuple[CLIPTokenizer, CLIPTextModel, T5TokenizerFast, T5EncoderModel]:
    """The frozen text side of the pipeline."""
    clip_tokenizer, clip = load_reader(config, "clip")
    t5_tokenizer, t5 = load_reader(config, "t5")
    return clip_tokenizer, clip.encoder, t5_tokenizer, t5.encoder

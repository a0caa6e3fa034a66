"""Train the scene CLIP on drawn scenes and their captions.

Contrastive as CLIP is, and every picture also faces a caption with one mistake, which another scene seldom offers. So
that minutes suffice, both towers' vectors also name what stands in every cell, through one head that is then dropped.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional

from embedded.families.tokenizers import build_clip_tokenizer, corpus
from embedded.judging.checker import cell_labels, checking_loss, drawn_scenes, spoil, trainer_of
from embedded.judging.damage import told_wrong
from embedded.judging.options import ScorerOptions
from embedded.world.captions import MAX_WORDS, caption
from eval.scene.checker import CELLS, HEADS
from eval.scene.clip import SceneClip
from eval.scene.draw import SIZE
from eval.scene.world import Scene

CLIP_SEED = 30_000_001
LARGEST_SCALE = 100.0  # of the logits, as CLIP's
NAMING = 0.3  # weight of what the head names
RARE_SHARE = 0.2
ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 192,
    "vision_cfg": {"image_size": SIZE, "patch_size": 8, "width": 96, "layers": 3, "head_width": 32, "mlp_ratio": 2.0},
    "text_cfg": {
        "context_length": MAX_WORDS + 4,
        "hf_tokenizer_name": "scene_clip",  # beside the weights
        "width": 96,
        "heads": 3,
        "layers": 2,
        "mlp_ratio": 2.0,
        "no_causal_mask": True,
    },
}
PREPROCESSING = {"size": SIZE, "mean": [0.5] * 3, "std": [0.5] * 3}


class Learner(nn.Module):
    """The CLIP with the head that names cells from either tower's vectors."""

    def __init__(self, network: nn.Module, features: int) -> None:
        super().__init__()
        self.network: Any = network
        self.head = nn.Linear(features, CELLS * sum(HEADS.values()))

    def named(self, vectors: Tensor) -> dict[str, Tensor]:
        """Logits of every cell {"shape": (B, cells, classes), ...} from unit vectors (B, E)."""
        logits = self.head(vectors * vectors.shape[-1] ** 0.5).unflatten(-1, (CELLS, -1))
        return dict(zip(HEADS, logits.split(list(HEADS.values()), dim=-1), strict=True))

    def loss(self, pictures: Tensor, tokens: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """Contrastive loss both ways, and that of the cells' names.

        Args:
            pictures: (B, 3, 64, 64) in [-1, 1].
            tokens: Of the captions, then of as many with a mistake. (2 B, L)
            labels: What stands in every cell.
        """
        seen = functional.normalize(self.network.encode_image(pictures), dim=-1)
        read = functional.normalize(self.network.encode_text(tokens), dim=-1)
        scale = self.network.logit_scale.exp().clamp(max=LARGEST_SCALE)
        logits, own = scale * seen @ read.T, torch.arange(len(seen), device=seen.device)
        told = read[: len(seen)]
        matching = functional.cross_entropy(logits, own) + functional.cross_entropy(logits[:, : len(seen)].T, own)
        return matching + NAMING * (checking_loss(self.named(seen), labels) + checking_loss(self.named(told), labels))


def clip_folder(options: ScorerOptions) -> Path:
    """Configuration and tokenizer, kept beside the checkpoint: built anew, learned words could get other ids."""
    folder = options.folder / "scene_clip"
    if not folder.exists():
        fresh = folder.with_suffix(".tmp")
        tokenizer = build_clip_tokenizer(corpus(moving=True), length=ARCHITECTURE["text_cfg"]["context_length"])
        tokenizer.save_pretrained(fresh)
        model = ARCHITECTURE | {"text_cfg": {**ARCHITECTURE["text_cfg"], "vocab_size": len(tokenizer)}}
        content = {"model_cfg": model, "preprocess_cfg": PREPROCESSING}
        (fresh / "open_clip_config.json").write_text(json.dumps(content, indent=2) + "\n")
        fresh.rename(folder)
    return folder


def train_clip(options: ScorerOptions) -> SceneClip:
    """Train (or resume, or load) the scene CLIP, on softened and noisy pictures too."""
    folder = clip_folder(options)
    torch.manual_seed(options.seed + 1)
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    learner = Learner(open_clip.CLIP(**config), config["embed_dim"])
    trainer = trainer_of(learner, "clip", 1.5e-3, options)
    if trainer.progress < 1:
        scenes, pictures = drawn_scenes(CLIP_SEED + options.seed, options.num_scenes, moving=True)
        labels = cell_labels(scenes)

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(pictures), (options.batch,), generator=generator)
        batch = pictures[rows].float() / 127.5 - 1
        batch[::2] = spoil(batch[::2], generator)
        rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
        tokens = tokenizer(captions_with_mistakes([scenes[row] for row in rows.tolist()], rng)).to(options.device)
        return learner.loss(batch.to(options.device), tokens, {name: told[rows] for name, told in labels.items()})

    trainer.run(loss_of)
    trainer.copy_average()
    return SceneClip(learner.network.cpu(), tokenizer)


def captions_with_mistakes(scenes: Sequence[Scene], rng: random.Random) -> list[str]:
    """Captions of scenes, then of each one with a mistake."""
    wrong = [told_wrong(scene, rng) for scene in scenes]
    return [caption(scene, rng, rare=rng.random() < RARE_SHARE).text for scene in (*scenes, *wrong)]

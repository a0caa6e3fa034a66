"""ImageReward-v1.0 (Xu et al., NeurIPS 2023, arXiv 2304.05977): how well people would like a picture for its prompt.

The authors' package, image-reward 1.5, does not import beside transformers 5. Its network is BLIP's (a ViT-L/16 at 224
pixels, and a BERT-base that attends to it) under five linear layers without activations between them. Transformers has
the first two, so the network is built of them here, and only the weights have other names in the released file.
``make env-imagereward`` installs the package in an environment of its own; with the same random weights in both,
``tests/eval/test_image_reward.py`` finds the same scores there, bit for bit.

As in the package a prompt ends after 35 tokens, and pictures go through one at a time: no score depends on the batch.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eval.pictures import as_pil

MEAN, DEVIATION = 0.16717362830052426, 1.0333394966054072  # by which the package standardises
PROMPT_TOKENS = 35
VISION = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
HEAD = (1024, 128, 64, 16, 1)
RENAMED = (  # in the released file, here; in this order
    (r"^blip\.text_encoder\.", "text."),
    (r"^mlp\.layers\.", "head."),
    (r"^blip\.visual_encoder\.", "vision."),
    (r"^vision\.cls_token$", "vision.embeddings.class_embedding"),
    (r"^vision\.pos_embed$", "vision.embeddings.position_embedding"),
    (r"^vision\.patch_embed\.proj\.", "vision.embeddings.patch_embedding."),
    (r"^vision\.norm\.", "vision.post_layernorm."),
    (r"^vision\.blocks\.(\d+)\.norm(\d)\.", r"vision.encoder.layers.\1.layer_norm\2."),
    (r"^vision\.blocks\.(\d+)\.attn\.qkv\.", r"vision.encoder.layers.\1.self_attn.qkv."),
    (r"^vision\.blocks\.(\d+)\.attn\.proj\.", r"vision.encoder.layers.\1.self_attn.projection."),
    (r"^vision\.blocks\.", "vision.encoder.layers."),
)


class ImageReward(nn.Module):
    """The network. Its sizes are the released ones unless others are given, as transformers names them."""

    def __init__(self, vision: Mapping[str, int] = VISION, text: Mapping[str, int] = TEXT) -> None:
        from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

        super().__init__()
        width = vision["hidden_size"]
        self.vision = BlipVisionModel(BlipVisionConfig(image_size=224, patch_size=16, layer_norm_eps=1e-6, **vision))
        # what they call a decoder is a BERT with cross-attention; its mask is not causal unless the call asks for it
        self.text = BlipTextModel(
            BlipTextConfig(encoder_hidden_size=width, vocab_size=30524, is_decoder=True, **text),
            add_pooling_layer=False,
        )
        self.head = nn.Sequential(*_head(text["hidden_size"]))

    def forward(self, pixels: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Standardised rewards. Pixels (B, 3, 224, 224), tokens and their mask (B, 35) -> (B,)"""
        seen = self.vision(pixels).last_hidden_state
        read = self.text(tokens, attention_mask=mask, encoder_hidden_states=seen, is_decoder=False).last_hidden_state
        return (self.head(read[:, 0]).flatten() - MEAN) / DEVIATION

    def load_released(self, state: Mapping[str, Tensor]) -> None:
        """Take weights with the names of the released file, which has some that a score does not need.

        Raises:
            ValueError: some that it needs are not there, or have another shape.
        """
        wanted = self.state_dict()
        found = {renamed: tensor for name, tensor in state.items() if (renamed := _renamed(name)) in wanted}
        wrong = [name for name in wanted if name not in found or found[name].shape != wanted[name].shape]
        if wrong:
            raise ValueError(
                f"no checkpoint of ImageReward-v1.0: {len(wrong)} of {len(wanted)} weights are missing or have another "
                f"shape, such as {wrong[0]}"
            )
        self.load_state_dict(found)


def _head(width: int) -> list[nn.Module]:
    """The linear layers, with the places between them where training drops out: weights are named by their position."""
    sizes = (width, *HEAD)
    linear = [nn.Linear(into, out) for into, out in zip(sizes, HEAD)]
    return [linear[0], nn.Identity(), linear[1], nn.Identity(), linear[2], nn.Identity(), linear[3], linear[4]]


def _renamed(name: str) -> str:
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


class Scorer:
    """The network with what stands before it: the tokens of prompts and the pixels of pictures."""

    def __init__(self, network: ImageReward, vocabulary: Path, device: torch.device) -> None:
        from torchvision import transforms

        self.network, self.device = network.to(device).eval(), device
        self.tokenizer = _tokenizer(vocabulary)
        self.pixels = transforms.Compose(
            [
                transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
            ]
        )

    def tokens(self, prompt: str) -> tuple[Tensor, Tensor]:
        """Tokens of a prompt and their mask, filled up with padding. (1, 35) twice"""
        *text, end = self.tokenizer.encode(prompt).ids
        ids = [*text[: PROMPT_TOKENS - 1], end]
        padding = PROMPT_TOKENS - len(ids)
        tokens, mask = torch.tensor([ids + [0] * padding]), torch.tensor([[1] * len(ids) + [0] * padding])
        return tokens.to(self.device), mask.to(self.device)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Rewards of pictures for their prompts. (B, 3, H, W) in [0, 1] -> (B,)"""
        with torch.inference_mode():
            scores = [
                self.network(self.pixels(picture)[None].to(self.device), *self.tokens(prompt))
                for picture, prompt in zip(as_pil(images), prompts, strict=True)
            ]
        return torch.cat(scores)


def _tokenizer(vocabulary: Path) -> Any:
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    tokenizer.add_special_tokens(["[DEC]", "[ENC]"])  # BLIP's own; only a prompt that spells them meets them
    return tokenizer


def prompt_lengths(vocabulary: Path, prompts: Sequence[str]) -> tuple[int, list[int]]:
    """How many tokens are read, and how many each prompt has; one each for start and end among them."""
    tokenizer = _tokenizer(vocabulary)
    return PROMPT_TOKENS, [len(tokenizer.encode(prompt).ids) for prompt in prompts]


@lru_cache(maxsize=1)
def load_scorer(checkpoint: Path, vocabulary: Path, device: torch.device) -> Scorer:
    """The scorer with the released weights.

    Raises:
        ValueError: the file is no checkpoint of ImageReward-v1.0.
    """
    from transformers.initialization import no_init_weights

    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    with no_init_weights():  # random ones take a quarter of a minute
        network = ImageReward()
    network.load_released(state)
    return Scorer(network, vocabulary, device)

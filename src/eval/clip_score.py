"""CLIP Score (Hessel et al., EMNLP 2021, arXiv 2104.08718): does a picture show what its prompt says.

100 x the cosine of picture and prompt as a model of open_clip sees them, 0 where it is negative; the tables of the
acceleration literature print it on this scale, Hessel et al. on one of 2.5. Their "ViT-G" is ViT-bigG-14 for some and
ViT-g-14, another and smaller model, for others, so provenance names model and weights. It is computed with open_clip
itself: torchmetrics' CLIPScore does not work with transformers 5.

Pictures go through open_clip's own preparation, as the 8-bit ones they are. Of a video the score is the mean over its
frames. CLIP reads 77 tokens of a prompt; whatever is beyond is cut off, as in all of these tables.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from eval.pictures import as_pil

FRAMES_AT_ONCE = 16


class Scorer:
    """A model of open_clip with its preparation of pictures and prompts.

    Raises:
        ValueError: open_clip has no such architecture, it does not read prompts with CLIP's own tokens, or the weights
            are not of it.
    """

    def __init__(self, architecture: str, weights: Path, device: torch.device) -> None:
        import open_clip

        if problem := what_is_wrong(architecture):
            raise ValueError(problem)
        try:
            self.model, _, self.pixels = open_clip.create_model_and_transforms(
                architecture, pretrained=str(weights), device=device
            )
        except Exception as error:  # even an assertion of open_clip's
            raise ValueError(f"{weights} has no weights of {architecture}: {error}") from error
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer(architecture)
        self.device = device

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Scores of pictures or videos for their prompts. (B, [T,] 3, H, W) in [0, 1] -> (B,)"""
        with torch.inference_mode():
            seen = torch.cat([self._see(some) for some in images.flatten(0, -4).split(FRAMES_AT_ONCE)])
            read = self.model.encode_text(self.tokenizer(list(prompts)).to(self.device), normalize=True)
        cosine = torch.einsum("btd,bd->bt", seen.view(len(prompts), -1, seen.shape[-1]), read)
        return (100 * cosine).clamp(min=0).mean(dim=1)

    def _see(self, frames: Tensor) -> Tensor:
        pixels = torch.stack([self.pixels(picture) for picture in as_pil(frames)])
        return self.model.encode_image(pixels.to(self.device), normalize=True)


def what_is_wrong(architecture: str) -> str:
    """Why there is no score with this architecture; "" if open_clip has it and it reads CLIP's own tokens."""
    import open_clip

    config = open_clip.get_model_config(architecture)
    if config is None:
        return f"open_clip has no architecture {architecture!r}, see open_clip.list_models()"
    if "hf_tokenizer_name" in config["text_cfg"]:
        return f"{architecture} does not read prompts with CLIP's own tokens"
    return ""


def prompt_lengths(architecture: str, prompts: Sequence[str]) -> tuple[int, list[int]]:
    """How many tokens are read, and how many each prompt has; one each for start and end among them."""
    import open_clip

    tokenizer = open_clip.get_tokenizer(architecture)
    return tokenizer.context_length, [len(tokenizer.encode(prompt)) + 2 for prompt in prompts]


@lru_cache(maxsize=1)
def load_scorer(architecture: str, weights: Path, device: torch.device) -> Scorer:
    """The scorer, kept for the next batch."""
    return Scorer(architecture, weights, device)

"""The scene CLIP: a small open_clip model, contrastive on drawn scenes and their captions."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from eval.scene.draw import SIZE
from eval.scene.files import scorer_folder, weight_file

FOLDER = "scene_clip"


class SceneClip:
    """The shipped model with its tokenizer, frozen."""

    def __init__(self, network: nn.Module, tokenizer: Any) -> None:
        self.network: Any = network.eval().requires_grad_(False)
        self.tokenizer = tokenizer

    @torch.no_grad()
    def of_pictures(self, pictures: Tensor) -> Tensor:
        """Unit vectors (B, E) of pictures (B, 3, H, W) in [-1, 1], looked at in 64x64."""
        return functional.normalize(self.network.encode_image(functional.adaptive_avg_pool2d(pictures, SIZE)), dim=-1)

    @torch.no_grad()
    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (B, E) of captions."""
        tokens = self.tokenizer(list(texts)).to(next(self.network.parameters()).device)
        return functional.normalize(self.network.encode_text(tokens), dim=-1)


@cache
def load_clip(device: str = "cpu") -> SceneClip:
    """The shipped scene CLIP, float32."""
    import open_clip  # takes seconds

    weight_file(FOLDER)  # an error that says more than open_clip's warning
    origin = f"local-dir:{scorer_folder(FOLDER)}"
    return SceneClip(open_clip.create_model(origin, device=device), open_clip.get_tokenizer(origin))

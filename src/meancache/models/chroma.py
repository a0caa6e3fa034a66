"""Chroma: FLUX's blocks, with modulations made by a network of their own; text goes through single-stream blocks."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from meancache.models.adapter import ModelAdapter, Stack, argument
from meancache.models.flux import DOUBLE, SINGLE


def modulated_input(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Norm and modulation of the image tokens, the first 6 rows of the block's 12. (B, S, D)"""
    hidden, temb = argument(("hidden_states", 0), args, kwargs), argument(("temb", 2), args, kwargs)
    modulated: Tensor = block.norm1(hidden, emb=temb[:, :6])[0]
    return modulated


ADAPTER = ModelAdapter(
    "chroma",
    classes=("ChromaTransformer2DModel",),
    stacks=(
        Stack("transformer_blocks", encoder_first=True, features=DOUBLE),
        Stack("single_transformer_blocks", encoder=None, text_in_hidden=True, features=SINGLE),
    ),
    modulated_input=modulated_input,
)

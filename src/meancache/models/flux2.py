"""FLUX.2 and its Klein: modulation is common to all blocks; a single-stream block is one module over text and image."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from meancache.models.adapter import ModelAdapter, Stack, argument
from meancache.models.flux import DOUBLE

TIME = ("temb_mod_img", 2)


def modulated_input(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Norm and modulation of the image tokens. (B, S, D)"""
    hidden, modulation = argument(("hidden_states", 0), args, kwargs), argument(TIME, args, kwargs)
    modulation = modulation if modulation.ndim == 3 else modulation.unsqueeze(1)
    shift, scale = modulation.chunk(6, dim=-1)[:2]
    modulated: Tensor = (1 + scale) * block.norm1(hidden) + shift
    return modulated


ADAPTER = ModelAdapter(
    "flux2",
    classes=("Flux2Transformer2DModel",),
    stacks=(
        Stack("transformer_blocks", encoder_first=True, features=DOUBLE),
        Stack(
            "single_transformer_blocks",
            encoder=None,
            text_in_hidden=True,
            query="attn.to_qkv_mlp_proj",
            features={"attn": "fused_block"},
        ),
    ),
    modulated_input=modulated_input,
    time=TIME,
)

"""Wan 2.1 and 2.2: one stream of video tokens that attends to the text; 2.2 has two experts, or a timestep a token."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from meancache.models.adapter import ModelAdapter, Stack, argument

FEATURES = {"attn1": "attention", "attn2": "cross_attention", "ffn": "mlp"}


def modulated_input(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Norm and modulation of the video tokens. (B, S, D)"""
    hidden, temb = argument(("hidden_states", 0), args, kwargs), argument(("temb", 2), args, kwargs)
    per_token = temb.ndim == 4  # Wan 2.2 ti2v: (B, S, 6, D)
    table = block.scale_shift_table.unsqueeze(0) if per_token else block.scale_shift_table
    shift, scale = (table + temb.float()).chunk(6, dim=2 if per_token else 1)[:2]
    if per_token:
        shift, scale = shift.squeeze(2), scale.squeeze(2)
    modulated: Tensor = (block.norm1(hidden.float()) * (1 + scale) + shift).type_as(hidden)
    return modulated


ADAPTER = ModelAdapter(
    "wan",
    classes=("WanTransformer3DModel",),
    stacks=(Stack("blocks", encoder=None, query="attn1.to_q", features=FEATURES),),
    modulated_input=modulated_input,
)

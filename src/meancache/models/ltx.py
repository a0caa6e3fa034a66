"""LTX-Video: one stream of video tokens that attends to the text; the prompts of guidance share one call."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from meancache.models.adapter import ModelAdapter, Stack, argument

FEATURES = {"attn1": "attention", "attn2": "cross_attention", "ff": "mlp"}


def modulated_input(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Norm and modulation of the video tokens. (B, S, D)"""
    hidden, temb = argument(("hidden_states", 0), args, kwargs), argument(("temb", 2), args, kwargs)
    shift, scale = (block.scale_shift_table + temb.unflatten(-1, (6, -1))).unbind(dim=2)[:2]
    modulated: Tensor = block.norm1(hidden) * (1 + scale) + shift
    return modulated


ADAPTER = ModelAdapter(
    "ltx",
    classes=("LTXVideoTransformer3DModel",),
    stacks=(Stack("transformer_blocks", encoder=None, query="attn1.to_q", features=FEATURES),),
    modulated_input=modulated_input,
)

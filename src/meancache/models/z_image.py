"""Z-Image: one stream of text and image tokens; the prompts of guidance share one call."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from meancache.models.adapter import ModelAdapter, Stack, argument

HIDDEN, TIME = ("x", 0), ("adaln_input", 3)
FEATURES = {"attention": "attention", "feed_forward": "mlp"}


def modulated_input(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Norm and scale of all tokens. (B, S, D)"""
    x, condition = argument(HIDDEN, args, kwargs), argument(TIME, args, kwargs)
    scale = block.adaLN_modulation(condition).unsqueeze(1).chunk(4, dim=2)[0]
    modulated: Tensor = block.attention_norm1(x) * (1 + scale)
    return modulated


ADAPTER = ModelAdapter(
    "z_image",
    classes=("ZImageTransformer2DModel",),
    stacks=(Stack("layers", HIDDEN, None, query="attention.to_q", features=FEATURES),),
    modulated_input=modulated_input,
    time=TIME,
    text="cap_feats",
)

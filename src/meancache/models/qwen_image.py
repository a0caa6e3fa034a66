"""Qwen-Image and its editing models: double-stream blocks only."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from meancache.models.adapter import ModelAdapter, Stack, argument

TIME = ("temb", 3)
FEATURES = {
    "attn": "attention",
    "img_mlp": "mlp",
    "txt_mlp": "context_mlp",
    "attn.to_v": "value",
    "attn.add_v_proj": "context_value",
}


def modulated_input(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Norm and modulation of the image tokens. (B, S, D)"""
    hidden, temb = argument(("hidden_states", 0), args, kwargs), argument(TIME, args, kwargs)
    modulation = block.img_mod(temb).chunk(2, dim=-1)[0]
    modulated: Tensor = block._modulate(block.img_norm1(hidden), modulation, kwargs.get("modulate_index"))[0]
    return modulated


ADAPTER = ModelAdapter(
    "qwen_image",
    classes=("QwenImageTransformer2DModel",),
    stacks=(Stack("transformer_blocks", encoder_first=True, features=FEATURES),),
    modulated_input=modulated_input,
    time=TIME,
)

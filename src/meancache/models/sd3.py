"""Stable Diffusion 3 and 3.5: double-stream blocks; the last drops the text, some attend to the image twice."""

from meancache.models.adapter import ModelAdapter, Stack, modulated_by_norm1
from meancache.models.flux import DOUBLE

ADAPTER = ModelAdapter(
    "sd3",
    classes=("SD3Transformer2DModel",),
    stacks=(
        Stack(
            "transformer_blocks",
            encoder_first=True,
            features=DOUBLE | {"attn2": "second_attention"},
            sometimes=frozenset({"attn2", "ff_context"}),
        ),
    ),
    modulated_input=modulated_by_norm1,
)

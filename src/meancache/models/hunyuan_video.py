"""HunyuanVideo: blocks like FLUX's, which give image first."""

from meancache.models.adapter import ModelAdapter, Stack, modulated_by_norm1
from meancache.models.flux import DOUBLE, SINGLE

ADAPTER = ModelAdapter(
    "hunyuan_video",
    classes=("HunyuanVideoTransformer3DModel",),
    stacks=(Stack("transformer_blocks", features=DOUBLE), Stack("single_transformer_blocks", features=SINGLE)),
    modulated_input=modulated_by_norm1,
)

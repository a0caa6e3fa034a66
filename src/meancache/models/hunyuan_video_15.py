"""HunyuanVideo 1.5: double-stream blocks only; its text tokens are those of two encoders and of the image."""

from meancache.models.adapter import ModelAdapter, Stack, modulated_by_norm1
from meancache.models.flux import DOUBLE

ADAPTER = ModelAdapter(
    "hunyuan_video_15",
    classes=("HunyuanVideo15Transformer3DModel",),
    stacks=(Stack("transformer_blocks", features=DOUBLE),),
    modulated_input=modulated_by_norm1,
)

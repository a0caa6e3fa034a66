"""FLUX.1: double-stream blocks, then single-stream blocks that fuse attention and MLP."""

from meancache.models.adapter import ModelAdapter, Stack, modulated_by_norm1

DOUBLE = {
    "attn": "attention",
    "ff": "mlp",
    "ff_context": "context_mlp",
    "attn.to_v": "value",
    "attn.add_v_proj": "context_value",
}
SINGLE = {"attn": "fused_attention", "proj_mlp": "fused_mlp_in", "proj_out": "fused_out", "attn.to_v": "fused_value"}

ADAPTER = ModelAdapter(
    "flux",
    classes=("FluxTransformer2DModel",),
    stacks=(
        Stack("transformer_blocks", encoder_first=True, features=DOUBLE),
        Stack("single_transformer_blocks", encoder_first=True, features=SINGLE),
    ),
    modulated_input=modulated_by_norm1,
)

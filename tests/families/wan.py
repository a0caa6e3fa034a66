from typing import Any

from diffusers import UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel

from tests.families import HEADS, SIZE, Family, prompts


def transformer(**options: Any) -> Any:
    sizes = {"in_channels": 4, "out_channels": 4, "text_dim": 24, "freq_dim": 16, "ffn_dim": 64, "num_layers": 3}
    return WanTransformer3DModel(**sizes | options, rope_max_seq_len=32, **HEADS).eval()


def scheduler() -> Any:
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def make(boundary_ratio: float | None = None, **options: Any) -> Any:
    denoisers = [transformer() for _ in range(1 if boundary_ratio is None else 2)]
    return WanPipeline(
        scheduler=scheduler(),
        boundary_ratio=boundary_ratio,
        **options,
        **dict(zip(("transformer", "transformer_2"), denoisers)),
        **dict.fromkeys(("vae", "text_encoder", "tokenizer")),
    )


def inputs(seed: int) -> dict[str, Any]:
    return prompts(seed) | SIZE | {"num_frames": 5, "guidance_scale": 4.0}


FAMILY = Family(make, inputs, tokens=32, num_branches=2, num_text=0, threshold=0.12, is_first=True)

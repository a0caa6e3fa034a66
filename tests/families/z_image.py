from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

from tests.families import SIZE, Family, random


def make() -> Any:
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=3,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=24,
        axes_dims=[4, 6, 6],
        axes_lens=[128, 16, 16],
    )
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return ZImagePipeline(scheduler=scheduler, transformer=transformer.eval(), **nothing)


def inputs(seed: int) -> dict[str, Any]:
    embeds = {
        "prompt_embeds": [random(seed + 100, 5, 24)[0]],
        "negative_prompt_embeds": [random(seed + 200, 5, 24)[0]],
    }
    return embeds | SIZE | {"guidance_scale": 3.0}


# image and text are each padded to 32 tokens, and are one stream
FAMILY = Family(make, inputs, tokens=32 + 32, num_prompts=2, num_text=0, threshold=0.85, is_first=True)

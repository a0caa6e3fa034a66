from typing import Any

from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Pipeline, Flux2Transformer2DModel

from tests.families import HEADS, SIZE, Family, random


def parts(*, guidance_embeds: bool) -> dict[str, Any]:
    """Components of a pipeline. Without a VAE it would not even give latents: it scales them by statistics of it."""
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        joint_attention_dim=24,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
        **HEADS,
    )
    vae = AutoencoderKLFlux2(
        block_out_channels=(4,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    nothing = dict.fromkeys(("text_encoder", "tokenizer"))
    return {"scheduler": scheduler, "transformer": transformer.eval(), "vae": vae.eval(), **nothing}


def make() -> Any:
    return Flux2Pipeline(**parts(guidance_embeds=True))


def inputs(seed: int) -> dict[str, Any]:
    return {"prompt_embeds": random(seed + 100, 5, 24), **SIZE}


FAMILY = Family(make, inputs, threshold=0.85)

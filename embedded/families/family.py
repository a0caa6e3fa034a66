"""What differs between the embedded models: one `Family` each, everything else is shared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from embedded.training.options import TinyConfig

Conditions = dict[str, Any]  # arguments of the denoiser that say what to draw


@dataclass(frozen=True)
class TextPart:
    """A text encoder of a pipeline, how it is built and what it hands to the denoiser.

    Args:
        name: Names its checkpoint.
        module: Name of the encoder in the pipeline.
        tokenizer: Name of the tokenizer in the pipeline.
        tokenizer_class: Loads the tokenizer.
        build_tokenizer: From captions.
        build: From options and tokenizer.
        encode: (tokenizer, encoder, prompts) to the denoiser's arguments, exactly as the pipeline does.
        lr: Peak learning rate of its training.
        pooled: It hands over one vector per prompt instead of one per token.
    """

    name: str
    module: str
    tokenizer: str
    tokenizer_class: Any
    build_tokenizer: Callable[[list[str]], Any]
    build: Callable[[TinyConfig, Any], nn.Module]
    encode: Callable[[Any, Any, list[str]], Conditions]
    lr: float
    pooled: bool = False


@dataclass(frozen=True)
class Family:
    """An architecture at small size.

    Args:
        pipeline: The real pipeline's class.
        texts: Its text encoders, in order of training.
        nothing: The prompt of the unguided branch.
        guidance: Default guidance scale of samples and card.
        guidances: Scales that the card compares.
        options: Call arguments of the pipeline for a guidance scale.
        distilled: Guidance is an input that a last stage teaches; otherwise each step calls the denoiser twice.
        build_vae: The autoencoder, ready to train.
        moments: (vae, pictures (B, 3, [T,] H, W)) to mean and log variance, stacked (B, 2 C, [t,] h, w).
        decode: (vae, latents (B, C, [t,] h, w)) to pictures (B, 3, [T,] H, W), not clamped.
        latent_scale: Latents (N, C, [t,] h, w) to (shift, factor) with which (latents - shift) * factor is normal.
        set_scale: Write (shift, factor) into the autoencoder's config.
        build_transformer: The denoiser.
        build_scheduler: The real one's settings.
        layout: (patches a side, device) to the denoiser's arguments that say where tokens stand.
        pack: Latents (B, C, [t,] h, w) to what the denoiser takes.
        clock: Timestep (and guidance input) that the denoiser reads for a noise level (and a scale) of one.
        whitens: Linear layer of the denoiser that reads states which no norm has scaled; it starts by whitening them.
    """

    pipeline: Any
    texts: tuple[TextPart, ...]
    nothing: str
    guidance: float
    guidances: tuple[float, ...]
    options: Callable[[float], dict[str, Any]]
    distilled: bool
    build_vae: Callable[[TinyConfig], Any]
    moments: Callable[[Any, Tensor], Tensor]
    decode: Callable[[Any, Tensor], Tensor]
    latent_scale: Callable[[Tensor], tuple[Any, Any]]
    set_scale: Callable[[Any, Any, Any], None]
    build_transformer: Callable[[TinyConfig], Any]
    build_scheduler: Callable[[], Any]
    layout: Callable[[int, str], Conditions]
    pack: Callable[[Tensor], Tensor]
    clock: float = 1.0
    whitens: str = ""

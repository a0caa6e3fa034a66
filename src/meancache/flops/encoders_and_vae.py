"""FLOPs of what a pipeline does once a sample: text encoders and VAE decoder, counted on the meta device."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from meancache.flops.measure import decoder_flops, encoder_flops

PATCH = 2  # side of a token in latents, in height and width: the same for all pipelines of KNOWN
KNOWN = ("FluxPipeline", "QwenImagePipeline", "HunyuanVideoPipeline", "ZImagePipeline", "WanPipeline")
CLIP_TOKENS = 77  # fixed in the code of HunyuanVideoPipeline
EncoderTokens = Mapping[str, Sequence[int]]
Call = Mapping[str, Any]

_counted: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], int]] = WeakKeyDictionary()  # a meta run takes seconds


def pipeline_constant(
    pipe: Any, *, text_tokens: Sequence[int], call: Call, encoder_tokens: EncoderTokens | None = None
) -> int:
    """FLOPs of what runs once a sample: text encoders and VAE decoder, those that the pipeline holds.

    Args:
        pipe: a loaded pipeline, on whatever device.
        text_tokens: text tokens that enter the denoiser, of each prompt that a sample needs.
        call: arguments of the pipeline call: height, width, num_frames, and how it pads prompts, else its defaults.
        encoder_tokens: tokens of each call of each text encoder, by its attribute; else as the pipeline pads them.

    Raises:
        ValueError: a size or ``encoder_tokens`` is not given and not known for this pipeline.
    """
    encoders = [
        name for name in ("text_encoder", "text_encoder_2", "text_encoder_3") if getattr(pipe, name, None) is not None
    ]
    if encoders and encoder_tokens is None:
        encoder_tokens = _padded_tokens(pipe, text_tokens, call)
    total = 0
    for name in encoders:
        assert encoder_tokens is not None
        if name not in encoder_tokens:
            raise ValueError(f"{type(pipe).__name__} has a {name}, but encoder_tokens says nothing of it")
        encoder = getattr(pipe, name)
        total += sum(_known(encoder, (count,), encoder_flops, count) for count in encoder_tokens[name])
    if getattr(pipe, "vae", None) is None:
        return total
    shape = _latents_shape(pipe, call)
    tiles = bool(getattr(pipe.vae, "use_tiling", False))
    return total + _known(pipe.vae, (*shape, tiles), decoder_flops, shape)


def _known(module: nn.Module, key: tuple[int, ...], count: Callable[[Any, Any], int], argument: Any) -> int:
    known = _counted.setdefault(module, {})
    if key not in known:
        known[key] = count(module, argument)
    return known[key]


def _latents_shape(pipe: Any, call: Call) -> tuple[int, ...]:
    """Latents as the VAE decodes them, (B, C, H, W) or with frames (B, C, F, H, W), of whole tokens."""
    if type(pipe).__name__ not in KNOWN:
        raise ValueError(f"the latents that {type(pipe).__name__} decodes are not known, only of {', '.join(KNOWN)}")
    if "height" not in call or "width" not in call:
        raise ValueError("say height and width of the sample, which its VAE decodes")
    scale = getattr(pipe, "vae_scale_factor", None) or pipe.vae_scale_factor_spatial
    sides = [PATCH * (call[side] // (scale * PATCH)) for side in ("height", "width")]
    channels = pipe.vae.config.get("latent_channels") or pipe.vae.config.z_dim
    if type(pipe.vae).__name__ == "AutoencoderKL":
        return 1, channels, *sides
    num_frames = call.get("num_frames", 1)
    frames = 1 if num_frames == 1 else (num_frames - 1) // pipe.vae_scale_factor_temporal + 1
    return 1, channels, frames, *sides


def _padded_tokens(pipe: Any, text: Sequence[int], call: Call) -> EncoderTokens:
    """Tokens of each encoder call, from the text tokens that reach the denoiser."""
    name = type(pipe).__name__

    def given(argument: str) -> Any:
        return call.get(argument, signature(type(pipe).__call__).parameters[argument].default)

    if name == "FluxPipeline":
        return {"text_encoder": [pipe.tokenizer_max_length] * len(text), "text_encoder_2": text}
    if name == "QwenImagePipeline":  # the template in front of the prompt is cut off again
        return {"text_encoder": [count + pipe.prompt_template_encode_start_idx for count in text]}
    if name == "HunyuanVideoPipeline" and "crop_start" in given("prompt_template"):  # likewise
        start = given("prompt_template")["crop_start"]
        return {"text_encoder": [count + start for count in text], "text_encoder_2": [CLIP_TOKENS] * len(text)}
    if name == "ZImagePipeline":  # padding is cut off
        return {"text_encoder": [given("max_sequence_length")] * len(text)}
    if name == "WanPipeline":
        return {"text_encoder": text}
    raise ValueError(f"say how many tokens the text encoders of {name} see: encoder_tokens")

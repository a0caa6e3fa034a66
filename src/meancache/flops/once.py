"""FLOPs of what a pipeline does once a sample: text encoders and VAE decoder, counted on the meta device."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from meancache.flops.measure import decoder_flops, encoder_flops

PATCH = 2  # side of a token in latents, in height and width: the same for all denoisers with a closed form
CLIP_TOKENS = 77  # fixed in the code of HunyuanVideoPipeline
EncoderTokens = Mapping[str, Sequence[int]]
Call = Mapping[str, Any]

_counted: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], int]] = WeakKeyDictionary()  # a meta run takes seconds


def pipeline_constant(
    pipe: Any,
    *,
    height: int,
    width: int,
    text_tokens: Sequence[int],
    num_frames: int = 1,
    encoder_tokens: EncoderTokens | None = None,
    call: Call | None = None,
) -> int:
    """FLOPs of what runs once a sample: text encoders and VAE decoder, those that the pipeline holds.

    Args:
        pipe: a loaded pipeline, on whatever device.
        height: of the sample, in pixels.
        width: of the sample, in pixels.
        text_tokens: text tokens that enter the denoiser, for each of its calls in a step.
        num_frames: of the sample.
        encoder_tokens: tokens of each call of each text encoder, by its attribute; else as the pipeline pads them.
        call: arguments of the pipeline call, where they say how it pads prompts; else its defaults.

    Raises:
        ValueError: ``encoder_tokens`` is not given and not known for this pipeline.
    """
    encoders = [
        name for name in ("text_encoder", "text_encoder_2", "text_encoder_3") if getattr(pipe, name, None) is not None
    ]
    if encoders and encoder_tokens is None:
        encoder_tokens = _padded_tokens(pipe, text_tokens, call or {})
    total = 0
    for name in encoders:
        assert encoder_tokens is not None
        if name not in encoder_tokens:
            raise ValueError(f"{type(pipe).__name__} has a {name}, but encoder_tokens says nothing of it")
        encoder = getattr(pipe, name)
        total += sum(_known(encoder, (count,), encoder_flops, count) for count in encoder_tokens[name])
    if getattr(pipe, "vae", None) is None:
        return total
    shape = _latents_shape(pipe.vae, _latents_size(pipe, height, width, num_frames))
    tiles = bool(getattr(pipe.vae, "use_tiling", False))
    return total + _known(pipe.vae, (*shape, tiles), decoder_flops, shape)


def _known(module: nn.Module, key: tuple[int, ...], count: Callable[[Any, Any], int], argument: Any) -> int:
    known = _counted.setdefault(module, {})
    if key not in known:
        known[key] = count(module, argument)
    return known[key]


def image_tokens(pipe: Any, height: int, width: int, num_frames: int) -> int:
    """Image or video tokens that enter the denoiser."""
    frames, rows, columns = _latents_size(pipe, height, width, num_frames)
    return frames * (rows // PATCH) * (columns // PATCH)


def _latents_size(pipe: Any, height: int, width: int, num_frames: int) -> tuple[int, int, int]:
    """Frames, height and width of the latents. Pipelines make them fit whole tokens."""
    scale = getattr(pipe, "vae_scale_factor", None) or pipe.vae_scale_factor_spatial
    frames = 1 if num_frames == 1 else (num_frames - 1) // pipe.vae_scale_factor_temporal + 1
    return frames, PATCH * (height // (scale * PATCH)), PATCH * (width // (scale * PATCH))


def _latents_shape(vae: Any, size: tuple[int, int, int]) -> tuple[int, ...]:
    """Latents as the VAE decodes them, (B, C, H, W) or with frames (B, C, F, H, W)."""
    channels = vae.config.get("latent_channels") or vae.config.z_dim
    return (1, channels, *(size[1:] if type(vae).__name__ == "AutoencoderKL" else size))


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

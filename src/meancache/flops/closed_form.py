"""FLOPs of a denoiser by unit of work, in closed form."""

from collections.abc import Callable, Mapping

from meancache.flops import models
from meancache.flops.terms import Costs

_DOUBLE_AND_SINGLE = {"transformer_blocks": "num_layers", "single_transformer_blocks": "num_single_layers"}

# by class of the denoiser: its costs, and the key of its config with the length of each block list
_MODELS: dict[str, tuple[Callable[[models.Config, int, int], Costs], dict[str, str]]] = {
    "FluxTransformer2DModel": (models.flux, _DOUBLE_AND_SINGLE),
    "QwenImageTransformer2DModel": (models.qwen_image, {"transformer_blocks": "num_layers"}),
    "HunyuanVideoTransformer3DModel": (models.hunyuan_video, _DOUBLE_AND_SINGLE),
    "WanTransformer3DModel": (models.wan, {"blocks": "num_layers"}),
    "ZImageTransformer2DModel": (models.z_image, {"layers": "n_layers"}),
}


def _model(class_name: str) -> tuple[Callable[[models.Config, int, int], Costs], dict[str, str]]:
    if class_name not in _MODELS:
        raise ValueError(f"FLOPs of {class_name} are not known in closed form, only of {', '.join(_MODELS)}")
    return _MODELS[class_name]


def unit_costs(class_name: str, config: models.Config, *, image_tokens: int, text_tokens: int) -> Costs:
    """FLOPs of each unit of work, for one sample.

    Args:
        class_name: class of the denoiser.
        config: its config, complete, as diffusers keeps it.
        image_tokens: image or video tokens that enter the blocks.
        text_tokens: text tokens that enter the denoiser, padding included.

    Raises:
        ValueError: a class, or a variant of it, that is not known.
    """
    return _model(class_name)[0](config, image_tokens, text_tokens)


def full_call(class_name: str, config: models.Config) -> dict[str, int]:
    """The work of a denoiser call in which everything runs.

    Raises:
        ValueError: a class that is not known.
    """
    lengths = _model(class_name)[1]
    return {"embed_out": 1} | {f"blocks:{stack}": config[key] for stack, key in lengths.items()}


def denoiser_flops(work: Mapping[str, float], costs: Mapping[str, float]) -> float:
    """FLOPs of what was booked.

    Raises:
        ValueError: work in a unit that has no price.
    """
    unknown = sorted(set(work) - set(costs))
    if unknown:
        raise ValueError(f"work was booked in units without a price: {unknown}; known are {sorted(costs)}")
    return sum(amount * costs[unit] for unit, amount in work.items())

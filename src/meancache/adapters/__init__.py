"""What the seams must know of a model. One adapter a model family; new ones are added to ``ADAPTERS``."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class ModelAdapter:
    """Where a pipeline keeps its denoisers.

    Attributes:
        name: model family, as in tables and plans.
        denoisers: attributes of the pipeline that hold the modules called in the denoising loop.
    """

    name: str
    denoisers: tuple[str, ...] = ("transformer",)


FLUX = ModelAdapter("flux")
QWEN_IMAGE = ModelAdapter("qwen_image")

ADAPTERS = {"FluxPipeline": FLUX, "QwenImagePipeline": QWEN_IMAGE}


def adapter_for(pipe: Any) -> ModelAdapter:
    """The adapter of a diffusers pipeline.

    Velocity-level methods need no more than the denoiser's name, so a pipeline that is not listed gets an adapter
    made from the transformers it holds.

    Raises:
        ValueError: the pipeline holds no transformer, or its scheduler does not solve a flow.
    """
    kind, solver = type(pipe).__name__, type(pipe.scheduler).__name__
    settings = pipe.scheduler.config
    if not (
        "FlowMatch" in solver or settings.get("use_flow_sigmas") or settings.get("prediction_type") == "flow_prediction"
    ):
        raise ValueError(f"{kind} runs {solver}, which does not solve a flow: its output is no velocity")
    if kind in ADAPTERS:
        return ADAPTERS[kind]
    names = tuple(n for n in ("transformer", "transformer_2") if isinstance(getattr(pipe, n, None), torch.nn.Module))
    if not names:
        raise ValueError(f"{kind} has no `transformer`; write a ModelAdapter that names its denoisers")
    return ModelAdapter(kind, names)

"""What the seams must know of a model. One adapter a model family; new ones are added to ``ADAPTERS``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from meancache.protocols import Streams

Argument = tuple[str, int]  # name and position of a block's argument


@dataclass(frozen=True)
class Stack:
    """One list of blocks of a denoiser.

    Attributes:
        name: attribute of the denoiser.
        hidden: the argument that carries image tokens.
        encoder: the argument that carries text tokens, None where blocks do not pass them on.
        encoder_first: a block returns (encoder, hidden) and not (hidden, encoder).
        features: kind of each module whose output can be cached, by its name in the block.
    """

    name: str
    hidden: Argument = ("hidden_states", 0)
    encoder: Argument | None = ("encoder_hidden_states", 1)
    encoder_first: bool = False
    features: Mapping[str, str] = field(default_factory=dict)

    def read(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Streams:
        """The streams among a block's arguments."""
        encoder = None if self.encoder is None else argument(self.encoder, args, kwargs)
        return Streams(argument(self.hidden, args, kwargs), encoder)

    def unpack(self, output: Any) -> Streams:
        """The streams that a block returned."""
        if self.encoder is None:
            return Streams(output)
        return Streams(output[1], output[0]) if self.encoder_first else Streams(output[0], output[1])

    def pack(self, streams: Streams) -> Any:
        """Streams as a block returns them."""
        if self.encoder is None:
            return streams.hidden
        return (streams.encoder, streams.hidden) if self.encoder_first else (streams.hidden, streams.encoder)


def argument(which: Argument, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    name, position = which
    return kwargs[name] if name in kwargs else args[position]


@dataclass(frozen=True)
class ModelAdapter:
    """Where a pipeline keeps its denoisers, and how their blocks are called.

    Attributes:
        name: model family, as in tables and plans.
        denoisers: attributes of the pipeline that hold the modules called in the denoising loop.
        stacks: block lists of a denoiser in the order they run; none for a model known at velocity level only.
        modulated_input: (block 0, args, kwargs) -> its modulated input, (B, S, D).
        time: block 0's argument that carries the time embedding, as far as it is common to all blocks.
        text: the denoiser's argument that carries text tokens, (B, S, D) or a list with (S, D) of each prompt.
    """

    name: str
    denoisers: tuple[str, ...] = ("transformer",)
    stacks: tuple[Stack, ...] = ()
    modulated_input: Callable[[Any, Sequence[Any], Mapping[str, Any]], Tensor] | None = None
    time: Argument = ("temb", 2)
    text: str = "encoder_hidden_states"

    def blocks(self, denoiser: nn.Module) -> list[tuple[Stack, nn.Module]]:
        """All blocks in the order they run, each with its list.

        Raises:
            ValueError: this model is known at velocity level only, or the denoiser lacks a list.
        """
        if not self.stacks:
            raise ValueError(
                f"{self.name!r} is known at velocity level only; methods that skip blocks or features need its block "
                "lists: add them to meancache.adapters"
            )
        missing = [stack.name for stack in self.stacks if not len(getattr(denoiser, stack.name, ()))]
        if missing:
            raise ValueError(f"{type(denoiser).__name__} has no blocks {missing}; check the adapter {self.name!r}")
        return [(stack, block) for stack in self.stacks for block in getattr(denoiser, stack.name)]

    def block_lists(self, denoiser: nn.Module, *, fused: bool) -> list[list[tuple[Stack, nn.Module]]]:
        """The blocks as one list, or a list for each stack."""
        blocks = self.blocks(denoiser)
        return [blocks] if fused else [[b for b in blocks if b[0] is stack] for stack in self.stacks]


def _from_norm1(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """FLUX and HunyuanVideo: norm1 gives the modulated input first."""
    hidden, temb = argument(("hidden_states", 0), args, kwargs), argument(("temb", 2), args, kwargs)
    modulated: Tensor = block.norm1(hidden, emb=temb)[0]
    return modulated


def _qwen_modulated(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    hidden, temb = argument(("hidden_states", 0), args, kwargs), argument(("temb", 3), args, kwargs)
    modulation = block.img_mod(temb).chunk(2, dim=-1)[0]
    modulated: Tensor = block._modulate(block.img_norm1(hidden), modulation, kwargs.get("modulate_index"))[0]
    return modulated


def _z_image_modulated(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    x, condition = argument(("x", 0), args, kwargs), argument(("adaln_input", 3), args, kwargs)
    scale = block.adaLN_modulation(condition).unsqueeze(1).chunk(4, dim=2)[0]
    modulated: Tensor = block.attention_norm1(x) * (1 + scale)
    return modulated


def _wan_modulated(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    hidden, temb = argument(("hidden_states", 0), args, kwargs), argument(("temb", 2), args, kwargs)
    per_token = temb.ndim == 4  # Wan 2.2 ti2v: (B, S, 6, D)
    table = block.scale_shift_table.unsqueeze(0) if per_token else block.scale_shift_table
    shift, scale = (table + temb.float()).chunk(6, dim=2 if per_token else 1)[:2]
    if per_token:
        shift, scale = shift.squeeze(2), scale.squeeze(2)
    modulated: Tensor = (block.norm1(hidden.float()) * (1 + scale) + shift).type_as(hidden)
    return modulated


_DOUBLE = {
    "attn": "attention",
    "ff": "mlp",
    "ff_context": "context_mlp",
    "attn.to_v": "value",
    "attn.add_v_proj": "context_value",
}
_SINGLE = {"attn": "fused_attention", "proj_mlp": "fused_mlp_in", "proj_out": "fused_out", "attn.to_v": "fused_value"}

FLUX = ModelAdapter(
    "flux",
    stacks=(
        Stack("transformer_blocks", encoder_first=True, features=_DOUBLE),
        Stack("single_transformer_blocks", encoder_first=True, features=_SINGLE),
    ),
    modulated_input=_from_norm1,
)
HUNYUAN_VIDEO = ModelAdapter(
    "hunyuan_video",
    stacks=(
        Stack("transformer_blocks", features=_DOUBLE),
        Stack("single_transformer_blocks", features=_SINGLE),
    ),
    modulated_input=_from_norm1,
)
QWEN_IMAGE = ModelAdapter(
    "qwen_image",
    stacks=(
        Stack(
            "transformer_blocks",
            encoder_first=True,
            features={
                "attn": "attention",
                "img_mlp": "mlp",
                "txt_mlp": "context_mlp",
                "attn.to_v": "value",
                "attn.add_v_proj": "context_value",
            },
        ),
    ),
    modulated_input=_qwen_modulated,
    time=("temb", 3),
)
Z_IMAGE = ModelAdapter(
    "z_image",
    stacks=(Stack("layers", ("x", 0), None, features={"attention": "attention", "feed_forward": "mlp"}),),
    modulated_input=_z_image_modulated,
    time=("adaln_input", 3),
    text="cap_feats",
)
WAN = ModelAdapter(
    "wan",
    stacks=(Stack("blocks", encoder=None, features={"attn1": "attention", "attn2": "cross_attention", "ffn": "mlp"}),),
    modulated_input=_wan_modulated,
)

ADAPTERS = {
    "FluxTransformer2DModel": FLUX,
    "QwenImageTransformer2DModel": QWEN_IMAGE,
    "HunyuanVideoTransformer3DModel": HUNYUAN_VIDEO,
    "ZImageTransformer2DModel": Z_IMAGE,
    "WanTransformer3DModel": WAN,
}


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
    names = tuple(n for n in ("transformer", "transformer_2") if isinstance(getattr(pipe, n, None), torch.nn.Module))
    if not names:
        raise ValueError(f"{kind} has no `transformer`; write a ModelAdapter that names its denoisers")
    known = ADAPTERS.get(type(getattr(pipe, names[0])).__name__)
    return ModelAdapter(kind, names) if known is None else replace(known, denoisers=names)

"""What the seams must know of a model: its lists of blocks and how blocks are called. One adapter a model family."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from meancache.protocols import Streams

Argument = tuple[str, int]  # name and position of a block's argument

# kinds of features that are made of one token at a time
TOKENWISE = ("mlp", "context_mlp", "fused_mlp_in", "fused_out", "value", "context_value", "fused_value")

# modules that stand around a denoiser, and where they keep it
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",  # torch.compile
    "PeftModel": "base_model",
    "BaseTuner": "model",  # what a PeftModel keeps: LoraModel and its like
    "DistributedDataParallel": "module",
}


@dataclass(frozen=True)
class Stack:
    """One list of blocks of a denoiser.

    Attributes:
        name: attribute of the denoiser.
        hidden: the argument that carries image tokens.
        encoder: the argument that carries text tokens, None where blocks do not pass them on.
        encoder_first: a block returns (encoder, hidden) and not (hidden, encoder).
        text_in_hidden: text tokens come in front of the image tokens, in one tensor with them.
        query: a module that runs once in every call of a block.
        features: kind of each module whose output can be cached, by its name in the block.
        sometimes: names of such modules that only some blocks have; in what `ModelAdapter.blocks` gives, none.
        lacks: of ``features`` as written down, those that this kind of block has not.
    """

    name: str
    hidden: Argument = ("hidden_states", 0)
    encoder: Argument | None = ("encoder_hidden_states", 1)
    encoder_first: bool = False
    text_in_hidden: bool = False
    query: str = "attn.to_q"
    features: Mapping[str, str] = field(default_factory=dict)
    sometimes: frozenset[str] = frozenset()
    lacks: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """What a block of this kind is booked as: blocks of one kind cost the same."""
        return "-".join([self.name, *self.lacks])

    def of(self, block: nn.Module) -> "Stack":
        """This stack as one of its blocks is, with the features that it has.

        Raises:
            ValueError: the block lacks a feature that all should have.
        """
        if not self.sometimes:
            return self
        lacks = tuple(name for name in self.features if not _has(block, name))
        if wrong := set(lacks) - self.sometimes:
            raise ValueError(f"{type(block).__name__} has no {', '.join(sorted(wrong))}; check its adapter")
        features = {name: kind for name, kind in self.features.items() if name not in lacks}
        return replace(self, features=features, sometimes=frozenset(), lacks=lacks)

    def read(self, args: Sequence[Any], kwargs: Mapping[str, Any], num_text: int = 0) -> Streams:
        """The streams among a block's arguments; ``num_text`` is how many tokens are text where they share a tensor."""
        hidden = argument(self.hidden, args, kwargs)
        if self.text_in_hidden:
            return Streams(hidden[:, num_text:], hidden[:, :num_text])
        return Streams(hidden, None if self.encoder is None else argument(self.encoder, args, kwargs))

    def unpack(self, output: Any, num_text: int = 0) -> Streams:
        """The streams that a block returned; ``num_text`` as for :meth:`read`."""
        if self.text_in_hidden:
            return Streams(output[:, num_text:], output[:, :num_text])
        if self.encoder is None:
            return Streams(output)
        return Streams(output[1], output[0]) if self.encoder_first else Streams(output[0], output[1])

    def pack(self, streams: Streams) -> Any:
        """Streams as a block returns them."""
        if self.text_in_hidden:
            return torch.cat([part for part in (streams.encoder, streams.hidden) if part is not None], dim=1)
        if self.encoder is None:
            return streams.hidden
        return (streams.encoder, streams.hidden) if self.encoder_first else (streams.hidden, streams.encoder)

    def hand_on(self, *args: Any, **kwargs: Any) -> Any:
        """What a block returns that is called with these arguments and does nothing."""
        return argument(self.hidden, args, kwargs) if self.text_in_hidden else self.pack(self.read(args, kwargs))


def _has(block: nn.Module, name: str) -> bool:
    try:
        return isinstance(block.get_submodule(name), nn.Module)
    except AttributeError:
        return False


def argument(which: Argument, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    name, position = which
    return kwargs[name] if name in kwargs else args[position]


def unwrapped(module: Any) -> Any:
    """The denoiser itself, without what torch.compile, PEFT or accelerate put around it."""
    for kind in type(module).__mro__:
        if kind.__name__ in _WRAPPERS:
            return unwrapped(getattr(module, _WRAPPERS[kind.__name__]))
    return module


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
        classes: names of the denoiser classes that it is for.
    """

    name: str
    denoisers: tuple[str, ...] = ("transformer",)
    stacks: tuple[Stack, ...] = ()
    modulated_input: Callable[[Any, Sequence[Any], Mapping[str, Any]], Tensor] | None = None
    time: Argument = ("temb", 2)
    text: str = "encoder_hidden_states"
    classes: tuple[str, ...] = ()

    def text_tokens(self, arguments: Mapping[str, Any]) -> list[int]:
        """Text tokens of each prompt in a denoiser call, padding included; none where it takes no text that we know.

        Args:
            arguments: of the denoiser call, by name.
        """
        text = arguments.get(self.text)
        if isinstance(text, Tensor):
            return [text.shape[1]] * len(text)
        return [len(prompt) for prompt in text or ()]

    def blocks(self, denoiser: nn.Module) -> list[tuple[Stack, nn.Module]]:
        """All blocks in the order they run, each with its list as it is for this block.

        Raises:
            ValueError: this model is known at velocity level only, or the denoiser lacks a list.
        """
        if not self.stacks:
            raise ValueError(
                f"{self.name!r} is known at velocity level only; methods that skip blocks or features need its block "
                "lists: add a file to meancache.models"
            )
        denoiser = unwrapped(denoiser)
        missing = [stack.name for stack in self.stacks if not len(getattr(denoiser, stack.name, ()))]
        if missing:
            raise ValueError(f"{type(denoiser).__name__} has no blocks {missing}; check the adapter {self.name!r}")
        return [(stack.of(block), block) for stack in self.stacks for block in getattr(denoiser, stack.name)]

    def block_lists(self, denoiser: nn.Module, *, fused: bool) -> list[list[tuple[Stack, nn.Module]]]:
        """The blocks as one list, or a list for each stack."""
        blocks = self.blocks(denoiser)
        return (
            [blocks] if fused else [[block for block in blocks if block[0].name == stack.name] for stack in self.stacks]
        )


def modulated_by_norm1(block: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Modulated input of blocks whose norm1 is an AdaLayerNormZero, which gives it first. (B, S, D)"""
    hidden, temb = argument(("hidden_states", 0), args, kwargs), argument(("temb", 2), args, kwargs)
    modulated: Tensor = block.norm1(hidden, emb=temb)[0]
    return modulated

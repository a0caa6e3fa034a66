"""FLOPs of a module, counted on the meta device: shapes flow, nothing is computed and no weights are needed."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def on_meta(module: Any) -> nn.Module:
    """A copy without weights, made from the config of a diffusers or transformers module.

    It attends by torch's own means, whatever is set on the module: kernels of other packages are not counted.
    """
    kind: Any = type(module)
    with torch.device("meta"):
        if hasattr(kind, "from_config"):
            twin = kind.from_config(module.config)
            for part in twin.modules():
                if hasattr(getattr(part, "processor", None), "_attention_backend"):
                    part.processor._attention_backend = "native"
        else:
            twin = kind(copy.deepcopy(module.config))
            twin.set_attn_implementation("eager")
    return twin.eval()


@torch.no_grad()
def count_flops(call: Callable[[], Any]) -> int:
    """FLOPs of all that ``call`` does."""
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return int(counter.get_total_flops())


def encoder_flops(encoder: Any, num_tokens: int) -> int:
    """FLOPs of a text encoder on one prompt of so many tokens, padding included."""
    twin, tokens = on_meta(encoder), torch.zeros(1, num_tokens, dtype=torch.long, device="meta")
    return count_flops(lambda: twin(input_ids=tokens))


def decoder_flops(vae: Any, latents: Sequence[int]) -> int:
    """FLOPs of decoding latents of this shape, in tiles where the VAE is set to: they overlap, which costs."""
    twin: Any = on_meta(vae)
    for name, value in vars(vae).items():
        if name.startswith(("use_tiling", "tile_")):
            setattr(twin, name, value)
    return count_flops(lambda: twin.decode(torch.zeros(*latents, device="meta")))

"""What each model costs by unit of work, from the config of its denoiser. Exact: tests compare with FlopCounterMode.

D is the width of the model, N the number of image tokens, T of text tokens, S = N + T.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

from meancache.flops.terms import Costs, attention, double_stack, linear, mlp, single_stack

Config = Mapping[str, Any]

TIME_FREQUENCIES = 256  # fixed in the code of all models but Wan, where the config says it


def _width(config: Config) -> int:
    return int(config["num_attention_heads"] * config["attention_head_dim"])


def _conditioning(config: Config, D: int) -> int:
    """Embeddings of time, guidance and pooled text."""
    timed = mlp(1, TIME_FREQUENCIES, D, D) * (2 if config["guidance_embeds"] else 1)
    return timed + mlp(1, config["pooled_projection_dim"], D, D)


def flux(config: Config, N: int, T: int) -> Costs:
    D = _width(config)
    num_out = config["patch_size"] ** 2 * (config["out_channels"] or config["in_channels"])
    embed = linear(N, config["in_channels"], D) + linear(T, config["joint_attention_dim"], D)
    return {
        "embed_out": embed + _conditioning(config, D) + linear(1, D, 2 * D) + linear(N, D, num_out),
        "indicator": linear(1, D, 6 * D),
        **double_stack("transformer_blocks", D, N, T, hidden=4 * D, modules=("ff", "ff_context")),
        **single_stack("single_transformer_blocks", D, N + T, hidden=4 * D),
    }


def qwen_image(config: Config, N: int, T: int) -> Costs:
    _refuse(config, "zero_cond_t")
    D = _width(config)
    num_out = config["patch_size"] ** 2 * (config["out_channels"] or config["in_channels"])
    embed = linear(N, config["in_channels"], D) + linear(T, config["joint_attention_dim"], D)
    time = mlp(1, TIME_FREQUENCIES, D, D)
    return {
        "embed_out": embed + time + linear(1, D, 2 * D) + linear(N, D, num_out),
        "indicator": linear(1, D, 6 * D),
        **double_stack("transformer_blocks", D, N, T, hidden=4 * D, modules=("img_mlp", "txt_mlp")),
    }


def hunyuan_video(config: Config, N: int, T: int) -> Costs:
    if config["image_condition_type"] == "token_replace":
        raise ValueError("FLOPs of HunyuanVideo with image_condition_type='token_replace' are not known")
    D, num_text = _width(config), config["text_embed_dim"]
    patch, hidden = config["patch_size"] ** 2 * config["patch_size_t"], int(_width(config) * config["mlp_ratio"])
    refiner_block = 4 * linear(T, D, D) + attention(T, T, D) + mlp(T, D, 4 * D, D) + linear(1, D, 2 * D)
    refiner = mlp(1, TIME_FREQUENCIES, D, D) + mlp(1, num_text, D, D) + linear(T, num_text, D)
    refiner += config["num_refiner_layers"] * refiner_block
    out = linear(1, D, 2 * D) + linear(N, D, patch * (config["out_channels"] or config["in_channels"]))
    return {
        "embed_out": linear(N, patch * config["in_channels"], D) + refiner + _conditioning(config, D) + out,
        "indicator": linear(1, D, 6 * D),
        **double_stack("transformer_blocks", D, N, T, hidden=hidden, modules=("ff", "ff_context")),
        **single_stack("single_transformer_blocks", D, N + T, hidden=hidden),
    }


def wan(config: Config, N: int, T: int) -> Costs:
    """Text to video, one timestep a sample; blocks add a table to the shared modulation: no linears of their own."""
    _refuse(config, "image_dim", "added_kv_proj_dim")
    D, patch, hidden = _width(config), prod(config["patch_size"]), config["ffn_dim"]
    condition = mlp(1, config["freq_dim"], D, D) + linear(1, D, 6 * D) + mlp(T, config["text_dim"], D, D)
    out = linear(N, D, patch * (config["out_channels"] or config["in_channels"]))
    own = 4 * linear(N, D, D) + attention(N, N, D)
    cross = 2 * linear(N, D, D) + 2 * linear(T, D, D) + attention(N, T, D)
    return {
        "embed_out": linear(N, patch * config["in_channels"], D) + condition + out,
        "indicator": 0,
        "blocks:blocks": own + cross + mlp(N, D, hidden, D),
        "modulations:blocks": 0,
        "tokens:blocks.ffn": mlp(1, D, hidden, D),
    }


def z_image(config: Config, N: int, T: int) -> Costs:
    """Text and image are each padded to a multiple of 32 tokens. Both refiners run in every call."""
    _refuse(config, "siglip_feat_dim")
    D, N, T = config["dim"], N + -N % 32, T + -T % 32
    num_condition, patch = min(D, 256), config["all_patch_size"][0] ** 2 * config["all_f_patch_size"][0]
    modulation, feed_forward = linear(1, num_condition, 4 * D), 3 * linear(1, D, int(D / 3 * 8))

    def block(rows: int) -> int:
        return 4 * linear(rows, D, D) + attention(rows, rows, D) + rows * feed_forward

    embed = mlp(1, TIME_FREQUENCIES, 1024, num_condition) + linear(N, patch * config["in_channels"], D)
    embed += linear(T, config["cap_feat_dim"], D)
    refiners = config["n_refiner_layers"] * (modulation + block(N) + block(T))
    out = linear(1, num_condition, D) + linear(N + T, D, patch * config["in_channels"])
    return {
        "embed_out": embed + refiners + out,
        "indicator": modulation,
        "blocks:layers": modulation + block(N + T),
        "modulations:layers": modulation,
        "tokens:layers.feed_forward": feed_forward,
    }


def _refuse(config: Config, *keys: str) -> None:
    """Variants of a model that do more than is counted here."""
    given = [key for key in keys if config.get(key)]
    if given:
        raise ValueError(f"FLOPs of this variant are not known in closed form: the denoiser's config has {given}")

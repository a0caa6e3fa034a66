"""FLOPs of the parts that denoisers share.

D is the width of the model, N the number of image tokens, T of text tokens, S = N + T.
"""

Costs = dict[str, int]


def linear(rows: int, num_in: int, num_out: int) -> int:
    return 2 * rows * num_in * num_out


def attention(queries: int, keys: int, width: int) -> int:
    """QK^T and AV over all heads."""
    return 4 * queries * keys * width


def mlp(rows: int, num_in: int, hidden: int, num_out: int) -> int:
    return linear(rows, num_in, hidden) + linear(rows, hidden, num_out)


def double_stack(stack: str, D: int, N: int, T: int, *, hidden: int, modules: tuple[str, str]) -> Costs:
    """Double-stream blocks: image and text have weights of their own and attend jointly."""
    S, modulation = N + T, 2 * linear(1, D, 6 * D)
    block = modulation + 4 * linear(S, D, D) + attention(S, S, D) + mlp(S, D, hidden, D)
    tokens = {f"tokens:{stack}.{module}": mlp(1, D, hidden, D) for module in modules}
    values = {f"tokens:{stack}.{module}": linear(1, D, D) for module in ("attn.to_v", "attn.add_v_proj")}
    return {f"blocks:{stack}": block, f"modulations:{stack}": modulation, **tokens, **values}


def single_stack(stack: str, D: int, S: int, *, hidden: int) -> Costs:
    """Fused single-stream blocks: attention and MLP side by side, one output projection."""
    modulation = linear(1, D, 3 * D)
    fused = linear(S, D, hidden) + linear(S, D + hidden, D)
    return {
        f"blocks:{stack}": modulation + 3 * linear(S, D, D) + attention(S, S, D) + fused,
        f"modulations:{stack}": modulation,
        f"tokens:{stack}.proj_mlp": linear(1, D, hidden),
        f"tokens:{stack}.proj_out": linear(1, D + hidden, D),
        f"tokens:{stack}.attn.to_v": linear(1, D, D),
    }

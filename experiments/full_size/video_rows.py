"""Table 2 of the paper: FLOPs of its HunyuanVideo rows, of which it prints none; 640x480, 65 frames, denoiser alone.

Those beside ours are from HyCa (arXiv 2510.04188, Table 3), at the size that the paper's latencies imply. Their counter
adds elementwise work, 0.005 % of a step.

Token rows are those of the released code: in fused blocks it computes q, k and v of the chosen tokens too, and throws
them away. Our ToCa does not, which saves 3 %. TeaCache's rows depend on the video; so does DiCache's at 0.8.
"""

from collections import Counter
from collections.abc import Callable

from baselines.toca import ToCa
from experiments.full_size.image_rows import NUM_STEPS, Row, Work, Works, plain, taylorseer, total
from meancache.protocols import Feature

HUNYUAN = "HunyuanVideo"
FRAMES, ROWS, COLUMNS, TEXT = 17, 30, 40, 256  # of latents in tokens; text with its padding
DOUBLE, SINGLE = "transformer_blocks", "single_transformer_blocks"
REFRESHED = {"mlp": f"{DOUBLE}.ff", "context_mlp": f"{DOUBLE}.ff_context", "fused_mlp_in": f"{SINGLE}.proj_mlp"}


def refreshed_tokens(full: Work) -> Work:
    """What a ToCa step does to tokens, over all blocks."""
    method, work, image = ToCa(interval=5, warmup=1), Counter[str](), FRAMES * ROWS * COLUMNS
    competing = {"mlp": image, "context_mlp": TEXT, "fused_mlp_in": image + TEXT}
    for kind, unit in REFRESHED.items():
        stack = unit.split(".")[0]
        for layer in range(int(full[f"blocks:{stack}"])):
            share = method.share(Feature(kind, stack, layer, unit.removeprefix(f"{stack}.")))
            work[f"tokens:{unit}"] += int(share * competing[kind])
    fused = work[f"tokens:{SINGLE}.proj_mlp"]
    return work | Counter({f"tokens:{SINGLE}.proj_out": fused, f"tokens:{SINGLE}.attn.to_v": 3 * fused})


def toca(interval: int, *, aggressive: bool = False) -> Callable[[Work], Works]:
    """ToCa; with ``aggressive`` steps DuCa, on which no block runs: every second one between full steps."""
    offsets = [step % interval for step in range(NUM_STEPS)]
    skipped = sum(offset > 0 and offset % 2 == 0 for offset in offsets) if aggressive else 0
    computed = offsets.count(0)

    def works(full: Work) -> Works:
        fresh = {unit.replace("blocks:", "modulations:"): amount for unit, amount in full.items()}
        token_step = total((1, fresh), (1, refreshed_tokens(full)))
        token_steps = NUM_STEPS - computed - skipped
        return [total((computed, full), (token_steps, token_step), (skipped, {"embed_out": 1}))]

    return works


def dicache_floor(retained: float = 0.2) -> Callable[[Work], Works]:
    """The first steps are computed, all others run a probe of one block and no more: what a high threshold comes to."""
    computed = int(retained * NUM_STEPS)
    probe = {"embed_out": 1, f"blocks:{DOUBLE}": 1}
    return lambda full: [total((computed, full), (NUM_STEPS - computed, probe))]


VIDEO_ROWS = (
    Row(HUNYUAN, "50 steps", "50 F", 29773.0, plain(50)),
    Row(HUNYUAN, "30 % steps", "15 F", None, plain(15)),
    Row(HUNYUAN, "ToCa N=5", "10 F + 40 (o + mod + tokens)", 7006.2, toca(5)),
    Row(HUNYUAN, "DuCa N=5", "10 F + 20 (o + mod + tokens) + 20 o", 6483.2, toca(5, aggressive=True)),
    Row(HUNYUAN, "TaylorSeer N=5", "10 F + 40 (o + mod)", 5960.4, taylorseer(5, first=1)),
    Row(HUNYUAN, "MeanCache B=12", "12 F", None, plain(12)),
    Row(HUNYUAN, "DiCache 3.0", "10 F + 40 (o + block)", None, dicache_floor()),
    Row(HUNYUAN, "TaylorSeer N=7", "8 F + 42 (o + mod)", None, taylorseer(7, first=1)),
    Row(HUNYUAN, "MeanCache B=10", "10 F", None, plain(10)),
)

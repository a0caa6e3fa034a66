"""Table 1 of the paper: its FLOPs, and the work that each row's method does by its own rule.

What the rows say of how they were measured:

* one prompt, not a mean: Qwen-Image's figures fix its 14 tokens (19 with the template's end; 6 for the empty one).
* TeaCache on FLUX.1-dev computes as few steps as its polynomial allows: the rescaled change never falls below a floor.
* TeaCache on Qwen-Image computes every conditional call and no unconditional one: one state for both branches.
* DiCache recomputes once at 0.8 and never at 2.0, and then starts at block 0 again, not behind the probe.
* DBCache computes two blocks of a cached call, not the F2 + B4 of the text.

Where a rule looks at the picture, the number of steps is read off the figure itself: the one recomputed step of
DiCache at 0.8, the 11 computed steps of DBCache at r=0.6, the branch that TeaCache computes on Qwen-Image.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import yaml

from experiments.compose import CONF

NUM_STEPS = 50
TEACACHE = CONF / "preset/flux-teacache.yaml"

Work = Mapping[str, float]
Works = list[Work]  # one for each branch


@dataclass(frozen=True)
class Row:
    """A line of a table; ``works`` makes each branch's work from that of a call in which everything runs.

    ``paper`` is the figure to compare with, TFLOPs, or None where none is published.
    """

    model: str
    method: str
    formula: str
    paper: float | None
    works: Callable[[Work], Works]


def total(*parts: tuple[int, Work]) -> Work:
    """Work done so many times each."""
    work: Counter[str] = Counter()
    for times, part in parts:
        work.update({unit: times * amount for unit, amount in part.items()})
    return work


def plain(num_steps: int, branches: int = 1) -> Callable[[Work], Works]:
    """Fewer steps, and MeanCache: at skipped steps nothing runs."""
    return lambda full: [total((num_steps, full))] * branches


def taylorseer(interval: int, first: int = 3) -> Callable[[Work], Works]:
    """Full at the first steps, then every so many. In between modulations run, and what is around the blocks."""
    computed = first + len(range(first - 1 + interval, NUM_STEPS, interval))

    def works(full: Work) -> Works:
        forecast = {unit.replace("blocks:", "modulations:"): amount for unit, amount in full.items()}
        return [total((computed, full), (NUM_STEPS - computed, forecast))]

    return works


def fewest_steps(threshold: float) -> int:
    """Steps that TeaCache computes if the change of every step is the lowest value of its polynomial."""
    quartic = np.poly1d(yaml.safe_load(TEACACHE.read_text())["coefficients"])
    floor = min(float(quartic(point.real)) for point in quartic.deriv().roots if point.imag == 0)
    computed, accumulated = 2, 0.0  # the first and the last always
    for _ in range(1, NUM_STEPS - 1):
        accumulated += floor
        if accumulated >= threshold:
            computed, accumulated = computed + 1, 0.0
    return computed


def teacache(threshold: float) -> Callable[[Work], Works]:
    """As few steps as the threshold allows. The indicator is evaluated at every step."""

    def works(full: Work) -> Works:
        computed = fewest_steps(threshold)
        return [total((computed, full), (NUM_STEPS - computed, {"embed_out": 1}), (NUM_STEPS, {"indicator": 1}))]

    return works


def teacache_shared(full: Work) -> Works:
    """One state for both branches: the unconditional call sees no change and is never computed."""
    return [total((NUM_STEPS, full)), total((NUM_STEPS, {"embed_out": 1}))]


def dicache(recomputed: int, retained: float = 0.2) -> Callable[[Work], Works]:
    """The first steps and the last are computed; all others run a probe of one block, some of them then everything."""
    probes = NUM_STEPS - (int(retained * NUM_STEPS) + 1) - 1
    full_steps, probe = NUM_STEPS - probes + recomputed, {"blocks:transformer_blocks": 1}
    skips = NUM_STEPS - full_steps
    return lambda full: [total((full_steps, full), (skips, {"embed_out": 1}), (probes, probe))]


def dbcache(computed: int, num_blocks: int = 2) -> Callable[[Work], Works]:
    """``computed`` steps, the warm-up's 8 among them; a cached call runs ``num_blocks`` blocks."""
    cached = {"embed_out": 1, "blocks:transformer_blocks": num_blocks}
    return lambda full: [total((computed, full), (NUM_STEPS - computed, cached))] * 2


FLUX, QWEN = "FLUX.1-dev", "Qwen-Image"
ROWS = (
    Row(FLUX, "50 steps", "50 F + C", 3734.56, plain(50)),
    Row(FLUX, "60 % steps", "30 F + C", 2246.87, plain(30)),
    Row(FLUX, "30 % steps", "15 F + C", 1131.10, plain(15)),
    Row(FLUX, "TeaCache l=0.25", "26 F + 24 o + 50 ind + C", 1949.73, teacache(0.25)),
    Row(FLUX, "TeaCache l=1.5", "7 F + 43 o + 50 ind + C", 536.73, teacache(1.5)),
    Row(FLUX, "TaylorSeer N=6", "10 F + 40 (o + mod) + C", 760.08, taylorseer(6)),
    Row(FLUX, "TaylorSeer N=20", "5 F + 45 (o + mod) + C", 388.27, taylorseer(20)),
    Row(FLUX, "DiCache 0.8", "13 F + 37 o + 38 block + C", 1032.51, dicache(1)),
    Row(FLUX, "DiCache 2.0", "12 F + 38 o + 38 block + C", 958.15, dicache(0)),
    Row(FLUX, "MeanCache B=15", "15 F + C", 1131.10, plain(15)),
    Row(FLUX, "MeanCache B=10", "10 F + C", 759.18, plain(10)),
    Row(QWEN, "50 steps", "50 F + C", 10928.60, plain(50, 2)),
    Row(QWEN, "30 % steps", "15 F + C", 3291.75, plain(15, 2)),
    Row(QWEN, "TeaCache l=0.6", "50 cond + 50 o + C", 5481.27, teacache_shared),
    Row(QWEN, "DBCache r=0.6", "11 F + 39 (o + 2 block) + C", 2703.00, dbcache(11)),
    Row(QWEN, "DBCache r=1.5", "8 F + 42 (o + 2 block) + C", 2070.26, dbcache(8)),
    Row(QWEN, "MeanCache B=15", "15 F + C", 3291.75, plain(15, 2)),
    Row(QWEN, "MeanCache B=13", "13 F + C", 2855.35, plain(13, 2)),
    Row(QWEN, "MeanCache B=10", "10 F + C", 2200.77, plain(10, 2)),
)

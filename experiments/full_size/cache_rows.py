"""Rows of `cache_memory`: every method with the paper's settings, as far as they say what it keeps.

When it computes makes no difference to that, so thresholds' constants are neutral and plans spread their steps evenly.
"""

from baselines.dbcache import DBCache
from baselines.dicache import DiCache
from baselines.duca import DuCa
from baselines.fbcache import FBCache
from baselines.lemica import LeMiCa
from baselines.magcache import MagCache
from baselines.taylorseer import TaylorSeer
from baselines.taylorseer_lite import TaylorSeerLite
from baselines.teacache import TeaCache
from baselines.toca import ToCa
from experiments.full_size.even_plan import even_plan
from meancache.method import MeanCache
from meancache.protocols import Method
from meancache.schedule import Schedule

NUM_STEPS = 50


def methods(model: str, schedule: Schedule) -> dict[str, Method]:
    """The table's rows: the paper's settings for this model, where they say what is kept."""
    is_hunyuan = model == "hunyuan_video"
    first = 1 if is_hunyuan else 3
    unscaled, unchanged = (0, 0, 0, 1, 0), (1.0, 1.0)
    return {
        "MeanCache B=10": _evenly(model, schedule, 10),
        "MeanCache B=15": _evenly(model, schedule, 15),
        "MeanCache B=15 rule=paper": _evenly(model, schedule, 15, "paper"),
        "TaylorSeer lite O=2": TaylorSeerLite(5, first, order=2),
        "MagCache": MagCache(0.1, unchanged, max_skips=5),
        "LeMiCa B=10": LeMiCa(range(0, NUM_STEPS, 5), NUM_STEPS),
        "TeaCache": TeaCache(0.25, unscaled),
        "TeaCache, one state for both branches": TeaCache(0.25, unscaled, shared=True),
        "FBCache": FBCache(0.08),
        "DBCache F2B0": DBCache(0.6, fn=2, fused=not is_hunyuan),
        "DBCache F2B4": DBCache(0.6, fn=2, bn=4, fused=not is_hunyuan),
        "DBCache F2B0 + TaylorSeer O=4": DBCache(1.5, fn=2, taylor_order=4, fused=not is_hunyuan),
        "DiCache": DiCache(0.8, variant="hunyuan_video" if is_hunyuan else "flux"),
        "ToCa": ToCa(5, first, single_writeback=not is_hunyuan),
        "DuCa": DuCa(5, first, single_writeback=not is_hunyuan),
        "TaylorSeer O=0": TaylorSeer(5, first, order=0),
        "TaylorSeer O=1": TaylorSeer(5, first, order=1),
        "TaylorSeer O=2": TaylorSeer(5, first, order=2),
    }


def _evenly(model: str, schedule: Schedule, budget: int, rule: str = "release") -> MeanCache:
    return MeanCache(even_plan(model, schedule, budget, rule))

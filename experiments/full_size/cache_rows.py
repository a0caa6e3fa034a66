"""Rows of `cache_memory`: every method with the model's presets, as far as they say what it keeps.

When it computes makes no difference to that, so thresholds' constants are neutral and plans spread their steps evenly.
"""

from experiments.compose import compose_config
from experiments.full_size.even_plan import evenly_planned
from experiments.job import Job
from meancache.protocols import Method
from meancache.schedule import Schedule

NUM_STEPS = 50
TEACACHE, MAGCACHE = "method=teacache coefficients=[0,0,0,1,0]", "method=magcache max_skips=5 ratios=[1,1]"
ROWS = {
    "MeanCache B=10": "method=meancache budget=10",
    "MeanCache B=15": "method=meancache budget=15",
    "MeanCache B=15 rule=paper": "method=meancache budget=15 rule=paper",
    "TaylorSeer lite O=2": "method=taylorseer_lite interval=5 order=2",
    "MagCache": MAGCACHE,
    "LeMiCa B=10": "method=lemica budget=10",
    "TeaCache": TEACACHE,
    "TeaCache, one state for both branches": f"{TEACACHE} shared=true",
    "FBCache": "method=fbcache",
    "DBCache F2B0": "method=dbcache",
    "DBCache F2B4": "method=dbcache bn=4",
    "DBCache F2B0 + TaylorSeer O=4": "method=dbcache threshold=1.5 taylor_order=4",
    "DiCache": "method=dicache",
    "ToCa": "method=toca interval=5",
    "DuCa": "method=duca interval=5",
    "TaylorSeer O=0": "method=taylorseer interval=5 order=0",
    "TaylorSeer O=1": "method=taylorseer interval=5 order=1",
    "TaylorSeer O=2": "method=taylorseer interval=5 order=2",
}


def method_of(label: str, model: str, schedule: Schedule) -> Method:
    """The method of one row."""
    return evenly_planned(Job(compose_config([f"model={model}", *ROWS[label].split()])), schedule)

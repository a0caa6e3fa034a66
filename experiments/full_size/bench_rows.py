"""Which methods `bench_latency` times: those asked for, else the rows of the model's table in the paper, else these."""

from collections.abc import Mapping

import yaml

from experiments.compose import CONF
from hydra_plugins.row_sweeper import expand

TABLES = {"qwen_image": "table1_qwen", "hunyuan_video": "table2"}
ROWS = (
    "method=full",
    "method=fewer_steps num_steps=15",
    "method=meancache budget=15",
    "method=meancache budget=10",
    "method=teacache threshold=0.25",
    "method=dicache threshold=0.8",
    "method=taylorseer interval=6 order=1",
    "method=dbcache",
    "method=fbcache",
    "method=magcache",
    "method=lemica_released budget=15",
)


def rows_of(options: Mapping[str, str], model: str) -> list[list[str]]:
    """The overrides of each row."""
    if "rows" in options:
        return expand(options["rows"].split(";"))
    if model not in TABLES:
        return expand(ROWS)
    experiment = yaml.safe_load((CONF / "experiment" / f"{TABLES[model]}.yaml").read_text())
    return expand(experiment["hydra"]["sweeper"]["rows"])

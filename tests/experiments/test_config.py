"""Every YAML composes and its method can be built; what does not fit is refused with a hint."""

from pathlib import Path

import pytest
import yaml
from hydra.errors import ConfigCompositionException

from experiments.compose import CONF, compose_config, compose_raw
from experiments.errors import one_line
from experiments.plan import plan_request
from experiments.tabulate import paper_values
from hydra_plugins.row_sweeper import expand
from meancache.planner import PlanRequest

NEEDED = {
    "method=meancache_plan": ["plan=x.json"],
    "method=meancache_released": ["model=qwen_image"],
    "method=teacache_time": ["model=wan"],
}
CHOICES = [f"{p.parent.name}={p.stem}" for p in sorted(CONF.glob("*/*.yaml")) if p.parent.name != "calibration"]
CALIBRATIONS = [path.stem.split("-") for path in sorted((CONF / "calibration").glob("*.yaml"))]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_yaml_composes_and_says_how_it_is_used(choice):
    config = compose_config([choice, *NEEDED.get(choice, [])])
    assert config.resolved["label"]
    group, name = choice.split("=")
    head = (CONF / group / f"{name}.yaml").read_text().splitlines()[:2]
    assert any(line.startswith("# python run.py") and choice in line for line in head)


@pytest.mark.parametrize(("model", "method"), CALIBRATIONS)
def test_every_calibration_serves_its_model_and_method_and_names_its_source(model, method):
    assert plan_request(compose_config([f"model={model}", f"method={method}"])) is None
    assert (CONF / "calibration" / f"{model}-{method}.yaml").read_text().startswith("# ")


def test_a_method_without_calibration_for_the_model_says_so():
    with pytest.raises(ValueError, match="nothing is calibrated for method=teacache on model=random"):
        compose_config(["method=teacache", "threshold=1", "model.name=random", "~calibration"])


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_row_of_every_experiment_composes(path: Path):
    sweeper = yaml.safe_load(path.read_text())["hydra"]["sweeper"]
    for row in expand(sweeper.get("rows", [])):
        compose_config(row)
    for key, values in sweeper.get("params", {}).items():
        context = [f"{k}={str(v).split(',')[0]}" for k, v in sweeper["params"].items() if k != key]
        for value in str(values).split(","):
            compose_config([*context, f"{key}={value}"])


@pytest.mark.parametrize("path", sorted((CONF.parent / "experiments" / "tables").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_papers_table_has_a_row_for_each_job(path: Path):
    experiment = yaml.safe_load((CONF / "experiment" / path.name).read_text())
    sweeper = experiment["hydra"]["sweeper"]
    jobs = expand(sweeper["rows"]) if "rows" in sweeper else sweeper["params"]["gamma"].split(",")
    assert experiment["paper"] == f"experiments/tables/{path.name}"
    assert len(yaml.safe_load(path.read_text())["rows"]) == len(jobs)


def test_a_papers_values_are_shown_for_its_model_alone():
    def values(model: str, jobs: list[int]):
        return paper_values(compose_raw([f"model={model}", "paper=experiments/tables/table3.yaml"]), jobs)

    assert values("tiny_flux", [0]) == []
    assert values("flux", [3, 0])[0]["psnr"] == 24.569
    with pytest.raises(ValueError, match="5 rows, but the sweep had more jobs"):
        values("flux", [5])


def test_short_names_reach_the_method():
    request = plan_request(compose_config(["method=meancache", "budget=13", "gamma=2.5", "spans=[3,5]"]))
    assert request == PlanRequest(13, 2.5, (3, 5))
    assert compose_config(["method=fewer_steps", "num_steps=7"]).method["num_steps"] == 7


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["budget=0"], "budget must be a whole number >= 1, got 0"),
        (["budget=51"], "budget = 51 is more than the 50 steps"),
        (["budget=ten"], "budget must be a whole number"),
        (["rule=magic"], "rule must be one of paper, release, hold"),
        (["cost=money"], "cost must be one of velocity, displacement"),
        (["gamma=0.9"], "gamma must be a number >= 1, got 0.9"),
        (["+method.plan.magic=1"], "magic"),
        (["method=fewer_steps", "+budget=10"], "'budget' has no effect with method 'fewer_steps'"),
        (["stage=everything"], "stage must be one of all, calibrate"),
        (["runtime.offload=model"], "runtime.offload=model has no effect on a CPU; set runtime.offload=none"),
        (["runtime.batch_size=0"], "runtime.batch_size must be at least 1, got 0"),
        (["shard.index=2", "shard.count=2"], "shard.index must be in 0..1, got 2"),
        (["model.num_steps=many"], "Value 'many' of type 'str' could not be converted to Integer"),
        (["spans=[7]"], r"spans \[7\] go beyond the stability map, which is made up to 6"),
        (["method.plan.max_gap=4"], "10 edges of at most 4 steps do not reach over 50 steps"),
        (["method=meancache_plan", "plan=missing.json"], "no plan can be read from missing.json"),
    ],
)
def test_bad_settings_are_one_clear_line(overrides, message):
    with pytest.raises(ValueError, match=message) as caught:
        plan_request(compose_config(overrides))
    assert "\n" not in one_line(caught.value, overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["budgte=10"], "there is no setting 'budgte'; did you mean budget?"),
        (["model.num_stepz=3"], "there is no setting 'model.num_stepz'; did you mean model.num_steps"),
        (["method=fewer_steps", "budget=10"], "there is no setting 'budget' with method=fewer_steps"),
    ],
)
def test_unknown_keys_name_the_nearest(overrides, message):
    with pytest.raises(ConfigCompositionException) as caught:
        compose_raw(overrides)
    assert message in one_line(caught.value, overrides)


def test_a_defect_of_ours_keeps_its_traceback():
    assert one_line(RuntimeError("a bug"), []) is None

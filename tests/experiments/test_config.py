"""Every YAML composes and its method can be built; what does not fit is refused with a hint."""

import pytest
import yaml
from hydra.errors import ConfigCompositionException

from experiments.comparison import paper_values
from experiments.compose import CONF, compose_config, compose_raw
from experiments.errors import one_line
from experiments.job import Job
from hydra_plugins.row_sweeper import expand
from meancache.planner import PlanRequest

NEEDED = {
    "method=meancache_plan": ["plan=x.json"],
    "method=meancache_released": ["model=qwen_image"],
    "method=teacache_time": ["model=wan"],
}
CHOICES = [f"{p.parent.name}={p.stem}" for p in sorted(CONF.glob("*/*.yaml")) if p.parent.name != "calibration"]
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
PAPERS = [name for name in EXPERIMENTS if "\npaper: " in (CONF / "experiment" / f"{name}.yaml").read_text()]
CALIBRATIONS = [path.stem.split("-") for path in sorted((CONF / "calibration").glob("*.yaml"))]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_yaml_composes_and_says_how_it_is_used(choice):
    group, name = choice.split("=")
    config = compose_config([choice, *NEEDED.get(choice, [])])
    assert config.resolved["label"]
    head = (CONF / group / f"{name}.yaml").read_text().splitlines()[:2]
    assert any(line.startswith("# python run.py") and choice in line for line in head)


@pytest.mark.parametrize(("model", "method"), CALIBRATIONS)
def test_every_calibration_serves_its_model_and_method_and_names_its_source(model, method):
    assert Job(compose_config([f"model={model}", f"method={method}"])).plan_request is None
    assert (CONF / "calibration" / f"{model}-{method}.yaml").read_text().startswith("# ")


def test_a_method_without_calibration_for_the_model_says_so():
    with pytest.raises(ValueError, match="nothing is calibrated for method=teacache on model=random"):
        compose_config(["method=teacache", "threshold=1", "model.name=random", "~calibration"])


def jobs_of(experiment: str) -> list[list[str]]:
    """The overrides of each job of an experiment."""
    content = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())
    sweeper = content["hydra"]["sweeper"]
    rows = sweeper.get("rows") or [" ".join(f"{key}={values}" for key, values in sweeper["params"].items())]
    return [[f"experiment={experiment}", *row] for row in expand(rows)]


def instantiates(overrides: list[str]) -> None:
    config = compose_config(overrides)
    request = Job(config).plan_request
    if request is None:
        _ = Job(config).method


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_row_of_every_experiment_instantiates(experiment):
    for job in jobs_of(experiment):
        instantiates(job)


@pytest.mark.parametrize("experiment", PAPERS)
def test_each_row_of_a_papers_table_describes_one_job_on_its_model(experiment):
    paper = compose_config([f"experiment={experiment}"]).paper
    assert paper is not None
    table = yaml.safe_load((CONF.parent / paper).read_text())
    jobs = [[first, f"model={table['model']}", *row] for first, *row in jobs_of(experiment)]
    shown = [values for job in jobs if (values := paper_values(Job(compose_config(job))))]
    expected = [{name: value for name, value in row.items() if name != "run"} for row in table["rows"]]
    assert shown == expected


def test_a_row_may_hold_spaces_in_quotes():
    assert expand(["method=full 'label=\"a b\"'"]) == [["method=full", 'label="a b"']]


@pytest.mark.parametrize(
    ("overrides", "psnr"),
    [
        (["model=flux", "budget=15", "gamma=1"], 22.376),
        (["model=flux", "budget=15", "gamma=4"], 24.569),
        (["model=flux", "budget=10", "gamma=4"], None),
        (["model=flux", "budget=15", "gamma=4", "cost=displacement"], None),
        (["model=flux", "budget=15", "gamma=4", "model.call.height=512"], None),
        (["model=flux", "method=fewer_steps", "num_steps=15"], None),
        (["model=tiny_flux", "budget=15", "gamma=4"], None),
    ],
)
def test_a_papers_values_stand_beside_the_run_they_describe_alone(overrides, psnr):
    job = Job(compose_config(["paper=experiments/tables/table3.yaml", *overrides]))
    assert paper_values(job).get("psnr") == psnr


def test_short_names_reach_the_method():
    request = Job(compose_config(["method=meancache", "budget=13", "gamma=2.5", "spans=[3,5]"])).plan_request
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
        _ = Job(compose_config(overrides)).plan_request
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

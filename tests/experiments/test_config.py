"""Every YAML composes and its method can be built; what does not fit is refused with a hint."""

from inspect import Parameter, signature

import diffusers
import pytest
import yaml
from hydra.errors import ConfigCompositionException
from hydra.utils import get_object
from PIL import Image

from experiments.comparison import paper_values
from experiments.compose import CONF, compose_config, compose_raw
from experiments.errors import one_line
from experiments.generate import call_arguments
from experiments.job import Job
from hydra_plugins.row_sweeper import expand
from meancache.config import RunConfig
from meancache.planner import PlanRequest

NEEDED = {
    "method=meancache_plan": ["plan=x.json"],
    "method=meancache_released": ["model=qwen_image"],
    "method=teacache_time": ["model=wan"],
}
FILES = [path for path in sorted(CONF.glob("*/*.yaml")) if path.parent.name != "preset" and path.stem != "base"]
CHOICES = [f"{path.parent.name}={path.stem}" for path in FILES]
MODELS = [path.stem for path in FILES if path.parent.name == "model"]
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
PAPERS = [name for name in EXPERIMENTS if "\npaper: " in (CONF / "experiment" / f"{name}.yaml").read_text()]
PRESETS = [path.stem for path in sorted((CONF / "preset").glob("*.yaml")) if "-ratios" not in path.stem]
METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))


@pytest.mark.parametrize("choice", CHOICES)
def test_every_yaml_composes_and_says_how_it_is_used(choice):
    group, name = choice.split("=")
    config = compose_config([choice, *NEEDED.get(choice, [])])
    assert config.resolved["label"]
    head = (CONF / group / f"{name}.yaml").read_text().splitlines()[:2]
    assert any(line.startswith("# python run.py") and choice in line for line in head)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_names_a_pipeline_of_diffusers_and_arguments_that_it_takes(name):
    model = compose_config([f"model={name}"]).model
    assert model.call.keys() <= signature(getattr(diffusers, model.pipeline).__call__).parameters.keys()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_serves_its_model_and_method_and_names_its_source(preset):
    model, method, *_ = preset.split("-")
    text = (CONF / "preset" / f"{preset}.yaml").read_text()
    header, source, *_ = text.splitlines()
    assert (header, source[:2]) == ("# @package _global_", "# ")
    config = instantiates([f"model={model}", f"method={method}", f"preset={preset}"])
    for key, value in yaml.safe_load(text).items():
        assert key == "defaults" or config.resolved[key] == value


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("taylorseer", {"warmup": 1}),
        ("toca", {"warmup": 1, "single_writeback": False}),
        ("duca", {"warmup": 1, "single_writeback": False, "first": "conservative"}),
        ("dicache", {"variant": "hunyuan_video"}),
        ("dbcache", {"fused": False}),
    ],
)
def test_presets_reach_the_method_and_give_way_to_the_command(method, settings):
    for model in ("hunyuan_video", "tiny_hunyuan"):
        config = compose_config([f"model={model}", f"method={method}"])
        assert config.method.items() >= settings.items()
    plain = compose_config(["model=flux", f"method={method}"]).method
    assert all(plain[key] != value for key, value in settings.items())
    if "warmup" in settings:
        assert compose_config(["model=hunyuan_video", f"method={method}", "warmup=4"]).method["warmup"] == 4


def test_a_setting_that_only_a_preset_could_give_is_asked_for():
    with pytest.raises(ValueError, match="method=teacache needs 'coefficients', and for model=random nothing gives it"):
        compose_config(["method=teacache", "threshold=1", "model.name=random", "~preset"])


@pytest.mark.parametrize("method", [name for name in METHODS if name != "teacache_time"])  # whose class is TeaCache's
def test_a_setting_has_one_default(method):
    """What a method's YAML gives is what its class gives where it is left out."""
    content = yaml.safe_load((CONF / "method" / f"{method}.yaml").read_text())
    node = content["method"].get("plan") or content["method"]
    takes = signature(get_object(node["_target_"])).parameters
    own = {key: takes[key].default for key in content.keys() & takes.keys() if content[key] != "???"}
    own = {key: [*value] if isinstance(value, tuple) else value for key, value in own.items()}
    assert {key: content[key] for key in own if own[key] is not Parameter.empty} == {
        key: value for key, value in own.items() if value is not Parameter.empty
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_setting_reaches_its_method_without_being_written_down_again(method):
    """Interpolation is for other libraries' names."""
    node = yaml.safe_load((CONF / "method" / f"{method}.yaml").read_text())["method"]
    nodes = [node, node.get("plan", {})]
    assert not [key for some in nodes for key, value in some.items() if value == f"${{{key}}}"]


def jobs_of(experiment: str) -> list[list[str]]:
    """The overrides of each job of an experiment."""
    content = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())
    sweeper = content["hydra"]["sweeper"]
    rows = sweeper.get("rows") or [" ".join(f"{key}={values}" for key, values in sweeper["params"].items())]
    return [[f"experiment={experiment}", *row] for row in expand(rows)]


def instantiates(overrides: list[str]) -> RunConfig:
    job = Job(compose_config(overrides))
    if job.plan_request is None:
        assert job.method
    return job.config


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
        (["method=lemica", "+gamma=3"], "'gamma' has no effect with method 'lemica'"),
        (["method=fewer_steps", "+budget=10"], "'budget' has no effect with method 'fewer_steps'"),
        (["stage=everything"], "stage must be one of all, calibrate"),
        (["runtime.offload=model"], "runtime.offload=model has no effect on a CPU; set runtime.offload=none"),
        (["runtime.batch_size=0"], "runtime.batch_size must be at least 1, got 0"),
        (["shard.index=2", "shard.count=2"], "shard.index must be in 0..1, got 2"),
        (["model.num_steps=many"], "Value 'many' of type 'str' could not be converted to Integer"),
        (["spans=[7]"], r"spans \[7\] go beyond the stability map, which is made up to 6"),
        (["max_gap=4"], "10 edges of at most 4 steps do not reach over 50 steps"),
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


def test_a_picture_to_start_from_is_read_and_negative_prompts_are_repeated(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "first.png")
    arguments = call_arguments({"image": str(tmp_path / "first.png"), "negative_prompt": "-"}, 2)
    assert (arguments["image"].size, arguments["image"].mode, arguments["negative_prompt"]) == (
        (8, 8),
        "RGB",
        ["-"] * 2,
    )
    with pytest.raises(ValueError, match="model.call.image is no file, got None"):
        call_arguments(compose_config(["model=wan_i2v"]).model.call, 1)


def test_a_defect_of_ours_keeps_its_traceback():
    assert one_line(RuntimeError("a bug"), []) is None

"""The shape of a run's configuration. YAML says what; these dataclasses say which keys and types there are."""

from collections.abc import Collection
from dataclasses import dataclass, field
from inspect import signature
from pkgutil import resolve_name
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

STAGES = ("all", "calibrate", "fit", "plan", "generate", "time", "evaluate", "tabulate")


@dataclass
class ModelConfig:
    """A model: weights, pipeline and how it is called.

    Attributes:
        name: as in tables and plans.
        pipeline: class name in diffusers.
        path: local folder in diffusers format, or hub id.
        revision: commit or branch of the hub repository; a local folder has none.
        download: fetch missing weights from the hub; otherwise their absence is an error that says what to do.
        weights: how to get the weights, shown when they are missing.
        dtype: float32, bfloat16 or float16.
        num_steps: solver steps of the reference run.
        suite: prompt suite it is measured on, or null if you must name one.
        calibration_suite: prompt suite it is calibrated on, likewise.
        thresholds: "given", or "searched" where ``match_nfe`` asks for it: thresholds of the literature do not carry
            over to this model.
        batch_size: pictures at once where no time is taken.
        call: arguments of every pipeline call (size, guidance, ...).
        vae_tiling: decode in overlapping tiles, which takes less memory and changes pictures a little.
        vae_dtype: of the VAE alone, or null for ``dtype``.
        fps: frames a second of the videos it makes; null: it makes pictures.
        transformer: other weights for the denoiser, a folder in diffusers format or a hub id; null: those of ``path``.
        reference: what is otherwise in the model whose full run this one is measured against, e.g. the teacher of a
            distilled denoiser; null: nothing.
    """

    name: str
    pipeline: str
    path: str
    revision: str | None
    download: bool
    weights: str
    dtype: str
    num_steps: int
    suite: str | None
    calibration_suite: str | None
    thresholds: str
    batch_size: int
    call: dict[str, Any]
    vae_tiling: bool = False
    vae_dtype: str | None = None
    fps: int | None = None
    transformer: str | None = None
    reference: dict[str, Any] | None = None


@dataclass
class PromptsConfig:
    """A prompt suite.

    Attributes:
        file: a suite by its name, see meancache.suites, or a file.
        limit: take so many prompts, spread evenly.
        categories: of these categories alone, or null for all.
        download: fetch a named suite that is not on this machine; this holds for ``calibrate.file`` too.
    """

    file: str | None
    limit: int | None
    categories: list[str] | None
    download: bool


@dataclass
class MetricsConfig:
    """What to evaluate.

    Attributes:
        names: out of eval.metrics.METRICS; each must be computed.
        where_possible: others, which are left out where they cannot be computed.
        download: fetch weights of metrics that are not on this machine.
        settings: of single metrics, by name of the metric: what else stands under ``metrics``.
    """

    names: list[str]
    where_possible: list[str]
    download: bool
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class CalibrateConfig:
    """Full trajectories for the stability map: prompts x seeds; spans K up to ``max_span``.

    ``file``, ``limit`` and ``categories`` as for prompts, but that null leaves the categories to the suite.
    """

    file: str | None
    limit: int | None
    categories: list[str] | None
    seeds: list[int]
    max_span: int
    batch_size: int


@dataclass
class RuntimeConfig:
    """Where and how it runs.

    Attributes:
        device: cpu, cuda, cuda:1 ...
        threads: CPU threads of torch, or null for torch's own choice.
        batch_size: prompts a pipeline call; part of a run's identity.
        offload: none, model or sequential (diffusers' CPU offload).
        compile: regional torch.compile: of the blocks of every denoiser.
        attention: back end of the denoisers' attention by diffusers' name (flash, _native_cudnn, sage ...), or null for
            diffusers' default, torch's own choice.
    """

    device: str
    threads: int | None
    batch_size: int
    offload: str
    compile: bool
    attention: str | None


@dataclass
class TimingConfig:
    """How a run and its reference are timed: ``pairs`` of calls in turns (0: not at all), after ``untimed`` pairs."""

    pairs: int
    untimed: int


@dataclass
class TrackingConfig:
    """Where runs are mirrored: kind none or wandb."""

    kind: str
    project: str
    entity: str | None
    mode: str
    group: str | None
    name: str | None


@dataclass
class ShardConfig:
    """This job makes every ``count``-th sample from ``index`` on."""

    index: int
    count: int


@dataclass
class RunConfig:
    """Everything a run needs. ``method`` stays a plain mapping: its class checks it."""

    stage: str
    label: str
    model: ModelConfig
    method: dict[str, Any]
    prompts: PromptsConfig
    seeds: list[int]
    calibrate: CalibrateConfig
    metrics: MetricsConfig
    timing: TimingConfig
    tracking: TrackingConfig
    runtime: RuntimeConfig
    shard: ShardConfig
    match_nfe: float | None
    paper: str | None
    compare: str | None
    output: str
    report: bool
    publish: str | None
    resolved: dict[str, Any] = field(default_factory=dict)


def parse_config(config: DictConfig) -> RunConfig:
    """Check a composed configuration and turn it into dataclasses.

    Keys beside those of RunConfig are settings of the method (``budget``, ``threshold``). Each goes, under its own
    name, to the method or to the plan that it asks for, whichever has such an argument; but where the method's YAML
    uses it in an interpolation, that says where it goes.

    Raises:
        ValueError: a setting without effect, wrong type, missing value or a value out of range.
    """
    known = set(RunConfig.__dataclass_fields__) - {"resolved"}
    for key in set(config) - known:
        if OmegaConf.is_missing(config, key):
            raise ValueError(_missing(str(key), config))
    used = OmegaConf.to_yaml(config.method, resolve=False)
    own = {str(key) for key in set(config) - known if f"${{{key}}}" not in used}
    try:
        resolved: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore
        _hand_over({key: resolved[key] for key in sorted(own)}, resolved["method"])
        fields = {key: value for key, value in resolved.items() if key in known} | {"resolved": resolved}
        fields["metrics"] = _with_metric_settings(resolved["metrics"])
        result: RunConfig = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RunConfig), fields))  # type: ignore
    except OmegaConfBaseException as error:
        raise ValueError(f"configuration: {str(error).splitlines()[0]} (key {error.full_key!r})") from error
    _check(result)
    return result


def _with_metric_settings(metrics: dict[str, Any]) -> dict[str, Any]:
    """Put the settings of single metrics, which stand beside names and download, into a mapping of their own."""
    own = {key: value for key, value in metrics.items() if key in ("names", "where_possible", "download")}
    return own | {"settings": {key: value for key, value in metrics.items() if key not in own}}


def _hand_over(settings: dict[str, Any], method: dict[str, Any]) -> None:
    """Put settings of the method into its node, or into that of its plan."""
    nodes = [node for node in (method.get("plan"), method) if node is not None]
    for key, value in settings.items():
        takers = [node for node in nodes if key not in node and key in _arguments(node)]
        if not takers:
            raise ValueError(f"the setting {key!r} has no effect with method {method['name']!r}; leave it out")
        takers[0][key] = value


def _arguments(node: dict[str, Any]) -> Collection[str]:
    try:
        return signature(resolve_name(node["_target_"])).parameters
    except (KeyError, ImportError, AttributeError) as error:
        raise ValueError(f"method: its _target_ cannot be found: {error}") from error


def _missing(key: str, config: DictConfig) -> str:
    method, model = config.method.name, config.model.name
    return (
        f"method={method} needs {key!r}, and for model={model} nothing gives it: there is no "
        f"conf/preset/{model}-{method}.yaml with it, nor {key}=... in the command. `python run.py stage=fit` makes "
        "those of teacache and magcache; what authors released, they released for certain models alone"
    )


def _check(config: RunConfig) -> None:
    if config.stage not in STAGES:
        raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {config.stage!r}")
    if config.model.thresholds not in ("given", "searched"):
        raise ValueError(f"model.thresholds must be given or searched, got {config.model.thresholds!r}")
    if config.match_nfe is not None and not 1 <= config.match_nfe <= config.model.num_steps:
        raise ValueError(f"match_nfe must lie between 1 and {config.model.num_steps}, got {config.match_nfe}")
    if not 0 <= config.shard.index < config.shard.count:
        raise ValueError(f"shard.index must be in 0..{config.shard.count - 1}, got {config.shard.index}")
    if config.runtime.offload not in ("none", "model", "sequential"):
        raise ValueError(f"runtime.offload must be none, model or sequential, got {config.runtime.offload!r}")
    if config.runtime.offload != "none" and config.runtime.device == "cpu":
        raise ValueError(f"runtime.offload={config.runtime.offload} has no effect on a CPU; set runtime.offload=none")
    for name, value, least in [
        ("model.num_steps", config.model.num_steps, 1),
        ("runtime.batch_size", config.runtime.batch_size, 1),
        ("timing.pairs", config.timing.pairs, 0),
        ("timing.untimed", config.timing.untimed, 0),
        ("calibrate.batch_size", config.calibrate.batch_size, 1),
        ("calibrate.max_span", config.calibrate.max_span, 1),
        ("the number of seeds", len(config.seeds), 1),
        ("the number of calibrate.seeds", len(config.calibrate.seeds), 1),
    ]:
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    for name, seeds in [("seeds", config.seeds), ("calibrate.seeds", config.calibrate.seeds)]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{name} must differ from each other, got {seeds}")

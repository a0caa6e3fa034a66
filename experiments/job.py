"""One job: everything that follows from one configuration, worked out when it is first asked for and then kept.

The stages are functions of a job.
"""

import logging
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from meancache.artifacts import content_hash
from meancache.config import ModelConfig, RunConfig
from meancache.prompts import Sample, identity_of, load_prompts
from meancache.run_folder import FORMAT, RunFolder
from meancache.suites import calibration_categories
from meancache.weights import weights_fingerprint

if TYPE_CHECKING:
    from meancache.plan import Plan
    from meancache.planner import PlanRequest
    from meancache.protocols import Method
    from meancache.stability import StabilityMap

log = logging.getLogger(__name__)

FULL = {"name": "full", "_target_": "meancache.method.Full"}


@dataclass(frozen=True)
class Job:
    """What a configuration asks for. Equal configurations are equal jobs and share all folders."""

    config: RunConfig

    @property
    def model(self) -> ModelConfig:
        return self.config.model

    @cached_property
    def num_steps(self) -> int:
        """Solver steps of this run: the method's own number if it has one, else the model's."""
        return int(self.config.method.get("num_steps", self.model.num_steps))

    @cached_property
    def samples(self) -> list[Sample]:
        suite = self.config.prompts
        prompts = load_prompts(suite.file, suite.limit, suite.categories, download=suite.download)
        return [Sample(prompt, seed) for seed in self.config.seeds for prompt in prompts]

    @cached_property
    def calibration_samples(self) -> list[Sample]:
        suite = self.config.calibrate
        categories = calibration_categories(suite.file) if suite.categories is None else suite.categories
        prompts = load_prompts(suite.file, suite.limit, categories, download=self.config.prompts.download)
        return [Sample(prompt, seed) for seed in suite.seeds for prompt in prompts]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What of model, machine and libraries decides the numbers."""
        model, runtime = self.model, self.config.runtime
        kept = ("name", "pipeline", "dtype", "call", "revision", "num_steps", "vae_tiling", "vae_dtype")
        return {key: value for key, value in asdict(model).items() if key in kept} | {
            "weights": weights_fingerprint(model.path),
            "transformer": weights_fingerprint(model.transformer) if model.transformer else None,
            "device": runtime.device.split(":")[0],
            "compile": runtime.compile,
            "attention": runtime.attention,
            "libraries": [version(name) for name in ("torch", "diffusers", "transformers")],
        }

    @cached_property
    def calibration(self) -> Path:
        """Folder of the stability map."""
        identity = {"samples": identity_of(self.calibration_samples), "max_span": self.config.calibrate.max_span}
        return self.calibration_folder("", identity)

    def calibration_folder(self, kind: str, identity: dict[str, Any]) -> Path:
        """A folder for something measured on this model, named by all that decides it."""
        name = "-".join(filter(None, [self.model.name, kind, content_hash({"model": self.identity} | identity)]))
        return Path(self.config.output) / "calibration" / name

    @cached_property
    def stability_map(self) -> "StabilityMap":
        """The stability map of this configuration.

        Raises:
            ValueError: it is not made yet, a shard is missing, or it is damaged.
        """
        from meancache.stability import StabilityMap

        path = self.calibration / "map.safetensors"
        if not path.exists():
            raise ValueError(f"there is no stability map {path} yet: run stage=calibrate (all shards) first")
        try:
            return StabilityMap.load(path)
        except ValueError as error:
            raise ValueError(f"{error}; delete it and run stage=calibrate, which makes it from its samples") from error

    @cached_property
    def plan_request(self) -> "PlanRequest | Plan | None":
        """What the method wants to follow: a request to the planner, a finished plan, or nothing.

        Raises:
            ValueError: a setting of the method that is unknown or out of range.
        """
        from meancache.plan import Plan

        node = self.config.method.get("plan")
        request: PlanRequest | Plan | None = None if node is None else _instantiate(node)
        if isinstance(request, Plan):
            if (request.model, request.num_steps) != (self.model.name, self.num_steps):
                raise ValueError(
                    f"this plan is for {request.model} at {request.num_steps} steps, but the run is "
                    f"{self.model.name} at {self.num_steps} steps; plan again with method=meancache and its settings"
                )
        elif request is not None:
            request.check(self.model.num_steps, self.config.calibrate.max_span)
        return request

    @property
    def needs_map(self) -> bool:
        """Whether the plan is made from the stability map."""
        from meancache.planner import PlanRequest

        return isinstance(self.plan_request, PlanRequest)

    @cached_property
    def plan(self) -> "Plan | None":
        """The plan the method follows, if it follows one; made from the stability map where it asks for that."""
        from meancache.plan import Plan
        from meancache.planner import plan_path

        request = self.plan_request
        if request is None or isinstance(request, Plan):
            return request
        plan = plan_path(self.stability_map, request)
        if plan.rule == "paper":
            planned, live = (sum(span > 1 for span in spans) for spans in (plan.spans, plan.live_spans()))
            log.info("plan: %d of %d JVP spans correct anything (the others look back over held steps)", live, planned)
        return plan

    @cached_property
    def method(self) -> "Method":
        """The method, with its plan."""
        return self.following(self.plan)

    def following(self, plan: "Plan | None") -> "Method":
        """The method with this plan in place of its own."""
        node = {key: value for key, value in self.config.method.items() if key not in ("name", "plan")}
        method: Method = _instantiate(node) if plan is None else _instantiate(node | {"_partial_": True})(plan=plan)
        return method

    @cached_property
    def folder(self) -> RunFolder:
        """Where this run lies: named by the hash of all that decides its samples."""
        method = {key: value for key, value in self.config.method.items() if key not in ("name", "plan")}
        plan, runtime = self.plan, self.config.runtime
        identity = {
            "format": FORMAT,
            "model": self.identity,
            "method": method,
            "path": (plan.nodes, plan.spans, plan.rule, plan.schedule and plan.schedule.sigmas) if plan else (),
            "samples": identity_of(self.samples),
            "runtime": {"batch_size": runtime.batch_size, "threads": runtime.threads, "offload": runtime.offload},
        }
        name = f"{self.model.name}-{self.config.method['name']}-{content_hash(identity)}"
        return RunFolder(Path(self.config.output) / "runs" / name)

    @cached_property
    def reference(self) -> "Job":
        """The full run with the same model, prompts and seeds; of a distilled model, its teacher's."""
        model = reference_model(self.model)
        label = f"Original: {model.num_steps} steps"
        settings = {key: value for key, value in self.config.resolved.items() if key in RunConfig.__dataclass_fields__}
        changes: dict[str, Any] = {"method": FULL, "label": label}
        resolved = settings | changes | {"model": asdict(model)}
        job = Job(replace(self.config, **changes, model=model, resolved=resolved))
        vars(job)["samples"] = self.samples  # the same by definition: not read again
        return job

    @cached_property
    def is_reference(self) -> bool:
        return self.folder == self.reference.folder


def reference_model(model: ModelConfig) -> ModelConfig:
    """The model whose full run is the reference: itself, but for what its configuration says otherwise.

    Raises:
        ValueError: the configuration changes something that a model does not have.
    """
    if model.reference is None:
        return model
    if unknown := model.reference.keys() - {field.name for field in fields(ModelConfig)}:
        raise ValueError(f"model.reference has no setting {', '.join(sorted(unknown))}; it takes those of a model")
    call = model.call | model.reference.get("call", {})
    return replace(model, **{**model.reference, "call": call, "reference": None})


def _instantiate(node: dict[str, Any]) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        reason = error.__cause__ if isinstance(error.__cause__, ValueError | TypeError) else error
        raise ValueError(f"method: {reason}") from error

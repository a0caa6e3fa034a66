"""All stages of one run in order, or one of them."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from eval.metrics import find_metrics
from experiments.calibrate import calibrate, calibration_samples
from experiments.evaluate import evaluate
from experiments.figures.grid import side_by_side
from experiments.figures.plans import draw_plans
from experiments.fit import fit
from experiments.generate import generate, model_of, run_folder, samples_of
from experiments.plan import build_method, plan_request
from meancache.artifacts import make_folder, write_atomic
from meancache.config import RunConfig
from meancache.method import Full
from meancache.pipelines import check_weights
from meancache.plan import Plan
from meancache.planner import PlanRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a job made: its run and the reference it is measured against; without a label it has its first one."""

    run: Path
    reference: Path
    label: str


def reference_of(config: RunConfig) -> RunConfig:
    """The configuration of the full run with the same model, prompts and seeds."""
    method = {"name": "full", "_target_": f"{Full.__module__}.{Full.__name__}"}
    settings = {key: value for key, value in config.resolved.items() if key in RunConfig.__dataclass_fields__}
    label = f"Original: {config.model.num_steps} steps"
    return replace(config, method=method, label=label, resolved=settings | {"method": method, "label": label})


def run_stages(config: RunConfig) -> Outcome | None:
    """Run the stages asked for. Returns None where there is nothing to tabulate yet."""

    def wanted(stage: str) -> bool:
        return config.stage in ("all", stage)

    if config.stage == "fit":
        check_weights(model_of(config))
        fit(config)
        return None
    request = _check_early(config)
    if config.stage == "calibrate" or (wanted("calibrate") and isinstance(request, PlanRequest)):
        folder = calibrate(config)
        if config.stage == "calibrate" or not (folder / "map.safetensors").exists():
            return None
    method, plan = build_method(config, request)
    reference_config = reference_of(config)
    outcome = Outcome(run_folder(config, plan), run_folder(reference_config, None), config.label)
    if config.stage == "plan":
        _write_plan(config, plan, outcome.run)
        return None
    if wanted("generate"):
        generate(config, method, plan)  # first: whatever does not fit shows before the long reference run
        if outcome.run != outcome.reference:
            generate(reference_config, Full(), None)
        if not all((folder / "DONE").exists() for folder in (outcome.run, outcome.reference)):
            return None
    if wanted("evaluate"):
        names, device = config.metrics.names, config.runtime.device
        evaluate(outcome.run, outcome.reference, names, device=device)
        if alone := [metric.name for metric in find_metrics(names) if not metric.needs_reference]:
            evaluate(outcome.reference, outcome.reference, alone, device=device)
        _draw(outcome, plan)
    return outcome if config.stage in ("all", "evaluate", "tabulate") else None


def _check_early(config: RunConfig) -> PlanRequest | Plan | None:
    """What can be known to fail is said before hours of work: weights, suites, metrics, the method's settings."""
    check_weights(model_of(config))
    samples_of(config)
    find_metrics(config.metrics.names)
    request = plan_request(config)
    if isinstance(request, PlanRequest):
        calibration_samples(config)
    return request


def _write_plan(config: RunConfig, plan: Plan | None, folder: Path) -> None:
    if plan is None:
        raise ValueError(f"method {config.method['name']!r} follows no plan: there is nothing to do for stage=plan")
    write_atomic(make_folder(folder) / "plan.json", plan.to_json())
    draw_plans([plan], folder / "plan.png")
    log.info("plan: %s computes steps %s with spans %s", folder / "plan.json", list(plan.nodes), list(plan.spans))


def _draw(outcome: Outcome, plan: Plan | None) -> None:
    if outcome.run != outcome.reference:
        side_by_side([outcome.reference, outcome.run], outcome.run / "grid.png")
    if plan is not None:
        draw_plans([plan], outcome.run / "plan.png")

"""Plan: a method's configuration -> the method, with its plan made from the stability map where it asks for one."""

import logging
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from experiments.calibrate import load_map
from experiments.generate import num_steps
from meancache.config import RunConfig
from meancache.plan import Plan
from meancache.planner import PlanRequest, plan_path
from meancache.protocols import Method

log = logging.getLogger(__name__)


def plan_request(config: RunConfig) -> PlanRequest | Plan | None:
    """What the method wants to follow: a request to the planner, a finished plan, or nothing.

    Raises:
        ValueError: a setting of the method that is unknown or out of range.
    """
    node = config.method.get("plan")
    request = None if node is None else _instantiate(node)
    if isinstance(request, PlanRequest):
        request.check(config.model.num_steps, config.calibrate.max_span)
    elif request is not None and (request.model, request.num_steps) != (config.model.name, num_steps(config)):
        raise ValueError(
            f"this plan is for {request.model} at {request.num_steps} steps, but the run is "
            f"{config.model.name} at {num_steps(config)} steps; plan again with method=meancache and its settings"
        )
    return request


def build_method(config: RunConfig, request: PlanRequest | Plan | None) -> tuple[Method, Plan | None]:
    """The method, and the plan it follows if it has one."""
    node = {key: value for key, value in config.method.items() if key not in ("name", "plan")}
    if request is None:
        return _instantiate(node), None
    plan = plan_path(load_map(config), request) if isinstance(request, PlanRequest) else request
    if plan.rule == "paper":
        planned, live = (sum(span > 1 for span in spans) for spans in (plan.spans, plan.live_spans()))
        log.info("plan: %d of %d JVP spans correct anything (the others look back over held steps)", live, planned)
    return _instantiate(node | {"_partial_": True})(plan=plan), plan


def _instantiate(node: dict[str, Any]) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        reason = error.__cause__ if isinstance(error.__cause__, ValueError | TypeError) else error
        raise ValueError(f"method: {reason}") from error

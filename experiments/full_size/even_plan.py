"""A plan for what does not depend on which steps are computed: cost and memory."""

from experiments.job import Job
from meancache.plan import Plan
from meancache.planner import PlanRequest
from meancache.protocols import Method
from meancache.schedule import Schedule

LONGEST_SPAN = 5  # of the default settings, and of the plans that the authors released


def even_plan(model: str, schedule: Schedule, budget: int, rule: str = "release") -> Plan:
    """A plan whose computed steps are spread evenly, with the longest spans: as costly as any with this budget."""
    nodes = tuple(round(i * schedule.num_steps / budget) for i in range(budget))
    return Plan(model, schedule, nodes, tuple(min(max(node, 1), LONGEST_SPAN) for node in nodes), rule)


def evenly_planned(job: Job, schedule: Schedule) -> Method:
    """The method of a job; one that would plan on a stability map follows an even plan of its budget."""
    request = job.plan_request
    if isinstance(request, PlanRequest):
        return job.following(even_plan(job.model.name, schedule, request.budget, request.rule))
    return job.method

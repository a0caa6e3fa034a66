"""All stages of one job in order, or one of them."""

import logging

from eval.metric import Metric
from eval.metrics import choose_metrics
from experiments.calibrate import calibrate
from experiments.comparison import Comparison, compare
from experiments.fit import fit
from experiments.job import Job
from meancache.artifacts import make_missing
from meancache.run_folder import RunFolder
from meancache.weights import check_weights

log = logging.getLogger(__name__)


def run_stages(job: Job) -> Comparison | None:
    """Run the stages that the configuration asks for. Returns None where there is nothing to tabulate yet."""
    stage = job.config.stage

    def wanted(name: str) -> bool:
        return stage in ("all", name)

    if stage == "fit":
        check_weights(job.model)
        fit(job)
        return None
    check_early(job)
    calibrates = stage == "calibrate" or (wanted("calibrate") and job.needs_map)
    if (calibrates and not calibrate(job)) or stage == "calibrate":
        return None
    _ = job.method  # its settings are checked
    if stage == "plan":
        write_plan(job)
        return None
    if wanted("generate"):
        done = generate(job)  # first: what does not fit shows before the long reference run
        if not (job.is_reference or generate(job.reference)) or not done:
            return None
    if wanted("time"):
        from experiments.time_pairs import time_pairs

        time_pairs(job)
    if wanted("evaluate"):
        evaluate_and_draw(job)
    return compare(job) if stage in ("all", "evaluate", "tabulate") else None


def check_early(job: Job) -> None:
    """Say what can be known to fail before hours of work: weights, suites, metrics, the method's settings."""
    check_weights(job.model)
    check_weights(job.reference.model)
    _ = metrics_of(job)
    _ = job.calibration_samples if job.needs_map else job.method


def metrics_of(job: Job) -> list[Metric]:
    """The metrics that the configuration asks for and that fit the model."""
    config, medium = job.config.metrics, "picture" if job.model.fps is None else "video"
    return choose_metrics(
        config.names, config.where_possible, config.settings, medium, job.model.name, download=config.download
    )


def generate(job: Job) -> bool:
    """Make what is missing of the job's run. True once the samples of all shards are there."""
    log.info("%s", job.config.label)
    store, shard = job.folder.store(is_video=job.model.fps is not None), job.config.shard

    def make(missing: list[str]) -> None:
        from experiments.generate import make_samples  # torch and diffusers: only where something is made

        make_samples(job, missing)

    done = make_missing(store, [sample.name for sample in job.samples], make, (shard.index, shard.count))
    if not done:
        log.info("%s waits for other shards; when all are done, run the next stage", job.folder.path)
    return done


def write_plan(job: Job) -> None:
    """Write the plan and draw it, without running it."""
    from experiments.figures.plans import draw_plans

    if job.plan is None:
        raise ValueError(f"method {job.config.method['name']!r} follows no plan: there is nothing to do for stage=plan")
    job.folder.write("plan.json", job.plan.to_json())
    draw_plans([job.plan], job.folder.path / "plan.png")
    path, plan = job.folder.path / "plan.json", job.plan
    log.info("plan: %s computes steps %s with spans %s", path, list(plan.nodes), list(plan.spans))


def evaluate_and_draw(job: Job) -> None:
    """Score the run, and the reference where a metric needs nothing to compare with; draw both side by side."""
    from experiments.evaluate import evaluate

    metrics, device = metrics_of(job), job.config.runtime.device
    run, reference = job.folder, job.reference.folder
    evaluate(run, reference, metrics, device=device)
    if alone := [metric for metric in metrics if not metric.needs_reference]:
        evaluate(reference, reference, alone, device=device)
    if not job.is_reference and _older(run, "grid.png", "metrics.json", "timing.json"):
        from experiments.figures.grid import side_by_side

        side_by_side([reference, run], run.path / "grid.png")
    if job.plan is not None and _older(run, "plan.png", "plan.json"):
        from experiments.figures.plans import draw_plans

        draw_plans([job.plan], run.path / "plan.png")


def _older(folder: RunFolder, picture: str, *sources: str) -> bool:
    """Whether a picture is missing or was drawn before what it shows was written."""
    path = folder.path / picture
    made = [source.stat().st_mtime_ns for name in sources if (source := folder.path / name).exists()]
    return not path.exists() or any(path.stat().st_mtime_ns < time for time in made)

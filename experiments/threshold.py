"""Threshold: find the threshold at which a method computes so many steps on this model.

Thresholds of the literature are tied to the model they were tuned on. To compare methods at equal NFE on another one,
such as the embedded models, rows of an experiment ask for ``match_nfe``.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from omegaconf import DictConfig, OmegaConf

from experiments.job import Job
from meancache.artifacts import content_hash, locked, make_folder, write_atomic
from meancache.config import RunConfig, parse_config
from meancache.prompts import Sample, identity_of, in_batches

log = logging.getLogger(__name__)

PROMPTS = 4  # evenly spread over the calibration suite
LOWEST, HIGHEST = 1e-4, 1e2
TRIALS, TOLERANCE, DIGITS = 14, 0.25, 4


def resolve_threshold(config: DictConfig) -> RunConfig:
    """The configuration, with the threshold searched where it asks for that.

    Raises:
        ValueError: match_nfe with a method that has no threshold.
    """
    run_config = parse_config(config)
    if run_config.match_nfe is None:
        return run_config
    if run_config.model.thresholds == "given":
        log.info("match_nfe has no effect on %s: model.thresholds=given", run_config.model.name)
        return run_config
    if "threshold" not in config:
        raise ValueError(f"match_nfe searches a threshold, and method {run_config.method['name']!r} has none")
    threshold = find_threshold(config, run_config)
    return parse_config(OmegaConf.merge(config, {"threshold": threshold}))  # type: ignore[arg-type]


def find_threshold(config: DictConfig, run_config: RunConfig) -> float:
    """The threshold whose mean NFE is nearest to ``match_nfe``; searched once and kept on disk."""
    assert run_config.match_nfe is not None
    job = Job(run_config)
    samples = job.calibration_samples
    samples = samples[:: max(len(samples) // PROMPTS, 1)][:PROMPTS]
    method = {key: value for key, value in run_config.method.items() if key not in ("threshold", "plan")}
    identity = {
        "model": job.identity,
        "method": method,
        "samples": identity_of(samples),
        "nfe": run_config.match_nfe,
        "batch_size": run_config.runtime.batch_size,
    }
    folder = make_folder(Path(run_config.output) / "calibration")
    path = folder / f"{run_config.model.name}-{method['name']}-threshold-{content_hash(identity)}.json"
    with locked(folder, path.stem):
        if not path.exists():
            write_atomic(path, json.dumps(_search(config, samples, run_config.match_nfe)))
    found = json.loads(path.read_text())
    log.info("threshold %g computes %.4g steps, asked for %g", found["threshold"], found["nfe"], run_config.match_nfe)
    return float(found["threshold"])


def _search(config: DictConfig, samples: Sequence[Sample], target: float) -> dict[str, float]:
    """Bisection on a logarithmic scale: a higher threshold computes fewer steps."""
    low, high, best = LOWEST, HIGHEST, (float("inf"), 0.0, 0.0)
    for _ in range(TRIALS):
        threshold = float(f"{(low * high) ** 0.5:.{DIGITS}g}")
        nfe = _mean_nfe(Job(parse_config(OmegaConf.merge(config, {"threshold": threshold}))), samples)  # type: ignore
        best = min(best, (abs(nfe - target), threshold, nfe))
        if best[0] <= TOLERANCE:
            break
        low, high = (threshold, high) if nfe > target else (low, threshold)
    return {"threshold": best[1], "nfe": best[2]}


def _mean_nfe(job: Job, samples: Sequence[Sample]) -> float:
    from experiments.generate import call_pipeline  # torch and diffusers: only where something is searched
    from meancache.pipelines import load_pipeline

    pipe = load_pipeline(job.model, job.config.runtime)
    batches = in_batches(samples, job.config.runtime.batch_size)
    return fmean(call_pipeline(job, pipe, job.method, batch, output_type="latent").run.nfe for batch in batches)

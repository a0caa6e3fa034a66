"""Time: a method and its reference in turns on the same prompts -> timing.json. Never from the generation pass.

The denoising loop, text encoders and VAE are timed apart. A job that finds the timing it would take keeps it, so that a
sweep resumes.
"""

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle, islice
from typing import Any

from experiments.job import Job
from meancache.artifacts import content_hash, environment, locked
from meancache.progress import progress_bar
from meancache.prompts import Sample, in_batches

log = logging.getLogger(__name__)

Seconds = dict[str, float]


def time_pairs(job: Job) -> None:
    """Time the job and its reference ``timing.pairs`` times, unless that is done; a reference is timed alone."""
    settings, folder = job.config.timing, job.folder
    if settings.pairs == 0:
        return
    identity = content_hash([job.reference.folder.name, settings.pairs, settings.untimed])
    with locked(folder.path, "timing"):
        known = None
        with suppress(ValueError):  # damaged: timed again
            known = folder.timing()
        if known is not None and known["identity"] == identity:
            log.info("reused: %s", folder.path / "timing.json")
            return
        seconds = _time(job)
        content = {
            "identity": identity,
            "reference": job.reference.folder.name,
            "environment": environment(job.config.runtime.device),
            "batch_size": job.config.runtime.batch_size,
            "interleaved": _in_turns(job),
            "seconds": seconds,
        }
        folder.write("timing.json", json.dumps(content, indent=1) + "\n")


def _time(job: Job) -> dict[str, list[Seconds]]:
    """Seconds a sample by stage, of "run" and "reference", pair by pair."""
    from meancache.pipelines import load_pipeline

    settings = job.config.timing
    jobs = {"reference": job.reference, "run": job}
    if job.is_reference:
        del jobs["reference"]
    batches = in_batches(job.samples, job.config.runtime.batch_size)
    turns = [batches[0]] * settings.untimed + list(islice(cycle(batches), settings.pairs))
    calls = [(name, batch) for batch in turns for name in jobs]
    if not _in_turns(job):
        calls = [(name, batch) for name in jobs for batch in turns]
    seconds: dict[str, list[Seconds]] = {name: [] for name in jobs}
    second = _second_pipeline(job)
    for name, batch in progress_bar(calls, description="time", total=len(calls)):
        pipe = second if second is not None and name == "run" else load_pipeline(jobs[name].model, job.config.runtime)
        seconds[name].append(_seconds(jobs[name], pipe, batch))
    return {name: times[settings.untimed :] for name, times in seconds.items()}


def _seconds(job: Job, pipe: Any, batch: Sequence[Sample]) -> Seconds:
    from experiments.generate import call_pipeline

    return {part: value / len(batch) for part, value in call_pipeline(job, pipe, job.method, batch).seconds.items()}


def _second_pipeline(job: Job) -> Any:
    """The run's pipeline where it is not the reference's: the same parts with another denoiser."""
    if job.model == job.reference.model or not _in_turns(job):
        return None
    from meancache.pipelines import load_pipeline, with_denoiser

    return with_denoiser(load_pipeline(job.reference.model, job.config.runtime), job.model, job.config.runtime)


def _in_turns(job: Job) -> bool:
    """Whether both can be kept loaded: one denoiser, or two that stay where they are."""
    return job.model == job.reference.model or job.config.runtime.offload == "none"

"""Calibrate: full runs on prompts x seeds -> stability map. Shardable, resumable, done once for all jobs."""

import logging
from collections.abc import Sequence

from omegaconf import OmegaConf

from experiments.job import Job
from meancache.artifacts import SampleStore, locked, make_missing, write_atomic
from meancache.progress import progress_bar
from meancache.prompts import Sample, in_batches

log = logging.getLogger(__name__)


def calibrate(job: Job) -> bool:
    """Make what is missing of the stability map. True once it is there, which takes all shards."""
    samples = {sample.name: sample for sample in job.calibration_samples}
    store = SampleStore(job.calibration, ".safetensors")
    path, shard = store.folder / "map.safetensors", job.config.shard

    def make(missing: list[str]) -> None:
        path.unlink(missing_ok=True)
        write_atomic(store.folder / "config.yaml", OmegaConf.to_yaml(job.config.resolved))
        _calibrate(job, store, [samples[name] for name in missing])

    if not make_missing(store, list(samples), make, (shard.index, shard.count)):
        log.info("%s waits for other shards; when all are done, run the next stage", store.folder)
        return False
    with locked(store.folder, "merge"):
        if not path.exists():
            _merge(store, list(samples))
    return True


def _merge(store: SampleStore, names: Sequence[str]) -> None:
    from meancache.stability import StabilityMap

    path = store.folder / "map.safetensors"
    stability = StabilityMap.merge(StabilityMap.load(store.payload(name)) for name in names)
    write_atomic(path, stability.to_bytes())
    log.info("stability map of %d samples: %s", len(names), path)


def _calibrate(job: Job, store: SampleStore, samples: Sequence[Sample]) -> None:
    from experiments.figures.average_velocity import draw_velocity
    from experiments.generate import call_pipeline
    from meancache.method import Full
    from meancache.pipelines import load_pipeline
    from meancache.stability import StabilityMap, edge_costs

    config = job.config
    pipe = load_pipeline(config.model, config.runtime)
    spans = tuple(range(1, config.calibrate.max_span + 1))
    batches = in_batches(samples, config.calibrate.batch_size)
    for batch in progress_bar(batches, description="calibrate", total=len(batches)):
        trajectory = call_pipeline(job, pipe, Full(), batch, keep=True, output_type="latent").run.full_trajectory()
        example = store.folder / "trajectory.safetensors"
        if not example.exists():
            draw_velocity(trajectory.sample(0), store.folder / "velocity.png")
            write_atomic(example, trajectory.sample(0).to_bytes())
        for sample, costs in zip(batch, edge_costs(trajectory, spans)):
            part = StabilityMap(config.model.name, trajectory.schedule, spans, (sample.name,), costs[None])
            store.put(sample.name, part.to_bytes(), {"prompt": sample.prompt.text, "seed": sample.seed})

"""Calibrate: full runs on prompts x seeds -> stability map. Shardable, resumable, done once for all jobs."""

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from experiments.figures.velocity import draw_velocity
from experiments.generate import call_pipeline, model_identity
from meancache.artifacts import SampleStore, content_hash, fill, locked, write_atomic
from meancache.config import RunConfig
from meancache.method import Full
from meancache.pipelines import load_pipeline
from meancache.progress import track
from meancache.prompts import Sample, identity_of, in_batches, load_prompts
from meancache.stability import StabilityMap, edge_costs
from meancache.suites import calibration_categories

log = logging.getLogger(__name__)


def calibration_samples(config: RunConfig) -> list[Sample]:
    settings = config.calibrate
    categories = calibration_categories(settings.file) if settings.categories is None else settings.categories
    prompts = load_prompts(settings.file, settings.limit, categories, download=config.prompts.download)
    return [Sample(prompt, seed) for seed in config.calibrate.seeds for prompt in prompts]


def calibration_folder(config: RunConfig) -> Path:
    identity = {
        "model": model_identity(config),
        "samples": identity_of(calibration_samples(config)),
        "max_span": config.calibrate.max_span,
    }
    return Path(config.output) / "calibration" / f"{config.model.name}-{content_hash(identity)}"


def calibrate(config: RunConfig) -> Path:
    """Make what is missing of the stability map. Returns the folder; map.safetensors is in it once all shards are."""
    samples = {sample.name: sample for sample in calibration_samples(config)}
    store = SampleStore(calibration_folder(config), ".safetensors")

    def make(missing: list[str]) -> None:
        (store.folder / "map.safetensors").unlink(missing_ok=True)
        write_atomic(store.folder / "config.yaml", OmegaConf.to_yaml(config.resolved))
        _calibrate(config, store, [samples[name] for name in missing])

    if not fill(store, list(samples), make, (config.shard.index, config.shard.count)):
        log.info("%s waits for other shards; when all are done, run the next stage", store.folder)
        return store.folder
    with locked(store.folder, "merge"):
        path = store.folder / "map.safetensors"
        if not path.exists():
            stability = StabilityMap.merge(StabilityMap.load(store.payload(name)) for name in samples)
            write_atomic(path, stability.to_bytes())
            log.info("stability map of %d samples: %s", len(samples), path)
    return store.folder


def load_map(config: RunConfig) -> StabilityMap:
    """The stability map of this configuration.

    Raises:
        ValueError: it is not made yet, or a shard is missing.
    """
    path = calibration_folder(config) / "map.safetensors"
    if not path.exists():
        raise ValueError(f"there is no stability map {path} yet: run stage=calibrate (all shards) first")
    try:
        return StabilityMap.load(path)
    except ValueError as error:
        raise ValueError(f"{error}; delete it and run stage=calibrate, which makes it from its samples") from error


def _calibrate(config: RunConfig, store: SampleStore, samples: Sequence[Sample]) -> None:
    pipe = load_pipeline(config.model, config.runtime)
    spans = tuple(range(1, config.calibrate.max_span + 1))
    batches = in_batches(samples, config.calibrate.batch_size)
    for batch in track(batches, description="calibrate", total=len(batches)):
        _, session, _ = call_pipeline(config, pipe, Full(), batch, keep=True, output_type="latent")
        trajectory = session.run.full_trajectory()
        example = store.folder / "trajectory.safetensors"
        if not example.exists():
            draw_velocity(trajectory.sample(0), store.folder / "velocity.png")
            write_atomic(example, trajectory.sample(0).to_bytes())
        for sample, costs in zip(batch, edge_costs(trajectory, spans)):
            part = StabilityMap(config.model.name, trajectory.schedule, spans, (sample.name,), costs[None])
            store.put(sample.name, part.to_bytes(), {"prompt": sample.prompt.text, "seed": sample.seed})

"""Fit: full runs on prompts x seeds -> the constants of TeaCache and MagCache for this model, in conf/calibration.

Shardable and resumable like the stability map; each sample's measurements are kept, and the fit reads all of them.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from experiments.job import Job
from meancache.artifacts import SampleStore, make_folder, make_missing, write_atomic
from meancache.progress import progress_bar
from meancache.prompts import Sample, identity_of, in_batches

log = logging.getLogger(__name__)

CONSTANTS = Path(__file__).parents[1] / "conf" / "calibration"
DIGITS = 6


def fit(job: Job) -> Path | None:
    """Measure what is missing and write the constants. Returns their folder, None while other shards are at work."""
    samples = {sample.name: sample for sample in job.calibration_samples}
    folder = job.calibration_folder("blocks", {"samples": identity_of(job.calibration_samples)})
    store, shard = SampleStore(folder, ".changes.json"), job.config.shard

    def make(missing: list[str]) -> None:
        write_atomic(store.folder / "config.yaml", OmegaConf.to_yaml(job.config.resolved))
        _measure(job, store, [samples[name] for name in missing])

    if not make_missing(store, list(samples), make, (shard.index, shard.count)):
        log.info("%s waits for other shards; when all are done, run stage=fit once more", store.folder)
        return None
    return _write_constants(job, store, list(samples))


def _write_constants(job: Job, store: SampleStore, names: Sequence[str]) -> Path:
    from baselines.block_changes import Changes, magcache_ratios, teacache_coefficients

    config = job.config
    changes = [Changes.from_json(store.payload(name).read_text()) for name in names]
    target = make_folder(Path(config.publish) if config.publish else CONSTANTS)
    made = f"stage=fit, {config.model.num_steps} steps, {len(names)} samples of {config.calibrate.file}"
    for method, key, numbers in [
        ("teacache", "coefficients", teacache_coefficients(changes)),
        ("magcache", "ratios", magcache_ratios(changes)),
    ]:
        path = target / f"{config.model.name}-{method}.yaml"
        write_atomic(path, f"# {made}\n{key}: {json.dumps([float(f'{number:.{DIGITS}g}') for number in numbers])}\n")
        log.info("%s", path)
    return target


def _measure(job: Job, store: SampleStore, samples: Sequence[Sample]) -> None:
    from baselines.block_changes import BlockChanges
    from experiments.generate import call_pipeline
    from meancache.pipelines import load_pipeline

    pipe = load_pipeline(job.model, job.config.runtime)
    batches = in_batches(samples, job.config.calibrate.batch_size)
    for batch in progress_bar(batches, description="fit", total=len(batches)):
        method = BlockChanges()
        call_pipeline(job, pipe, method, batch, output_type="latent")
        for sample, changes in zip(batch, method.changes()):
            store.put(sample.name, changes.to_json().encode(), {"prompt": sample.prompt.text, "seed": sample.seed})

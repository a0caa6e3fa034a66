"""Fit: full runs on prompts x seeds -> the constants of TeaCache and MagCache for this model, in conf/preset.

Shardable and resumable like the stability map; each sample's measurements are kept, and the fit reads all of them.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import yaml
from omegaconf import OmegaConf

from experiments.job import Job
from meancache.artifacts import SampleStore, make_folder, make_missing, write_atomic
from meancache.progress import progress_bar
from meancache.prompts import Sample, identity_of, in_batches

log = logging.getLogger(__name__)

PRESETS = Path(__file__).parents[1] / "conf" / "preset"
HEAD = "# @package _global_\n"
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

    config, model = job.config, job.model
    changes = [Changes.from_json(store.payload(name).read_text()) for name in names]
    target = make_folder(Path(config.publish) if config.publish else PRESETS)
    made = f"stage=fit, {model.num_steps} steps, {len(names)} samples of {config.calibrate.file}"
    _put(target / f"{model.name}-teacache.yaml", made, "coefficients", teacache_coefficients(changes))
    _put(target / f"{model.name}-ratios.yaml", made, "ratios", magcache_ratios(changes))
    for method in ("magcache", "diffusers_magcache"):
        file = f"{model.name}-{method}.yaml"
        if not (PRESETS / file).exists():
            write_atomic(target / file, f"{HEAD}# the ratios of stage=fit\ndefaults: [{model.name}-ratios]\n")
    return target


def _put(path: Path, made: str, key: str, numbers: Sequence[float]) -> None:
    """Write a preset anew with these constants, and with the settings that it holds beside them."""
    shipped = PRESETS / path.name
    kept = yaml.safe_load(shipped.read_text()) if shipped.exists() else {}
    kept.pop(key, None)
    settings = yaml.safe_dump(kept, sort_keys=False) if kept else ""
    rounded = json.dumps([float(f"{number:.{DIGITS}g}") for number in numbers])
    write_atomic(path, f"{HEAD}# {made}\n{settings}{key}: {rounded}\n")
    log.info("%s", path)


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

"""Fit: full runs on prompts x seeds -> the constants of TeaCache and MagCache for this model, in conf/preset.

Shardable and resumable like the stability map; each sample's measurements are kept, and the fit reads all of them.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import yaml
from omegaconf import OmegaConf

from baselines.block_changes import BlockChanges, Changes, magcache_ratios, teacache_coefficients
from experiments.calibrate import calibration_samples
from experiments.generate import call_pipeline, model_identity
from meancache.artifacts import SampleStore, content_hash, fill, make_folder, write_atomic
from meancache.config import RunConfig
from meancache.pipelines import load_pipeline
from meancache.progress import track
from meancache.prompts import Sample, identity_of, in_batches

log = logging.getLogger(__name__)

PRESETS = Path(__file__).parents[1] / "conf" / "preset"
HEAD = "# @package _global_\n"
DIGITS = 6


def fit(config: RunConfig) -> Path | None:
    """Measure what is missing and write the constants. Returns their folder, None while other shards are at work."""
    samples = {sample.name: sample for sample in calibration_samples(config)}
    identity = {"model": model_identity(config), "samples": identity_of(samples.values())}
    folder = Path(config.output) / "calibration" / f"{config.model.name}-blocks-{content_hash(identity)}"
    store = SampleStore(folder, ".changes.json")

    def make(missing: list[str]) -> None:
        write_atomic(store.folder / "config.yaml", OmegaConf.to_yaml(config.resolved))
        _measure(config, store, [samples[name] for name in missing])

    if not fill(store, list(samples), make, (config.shard.index, config.shard.count)):
        log.info("%s waits for other shards; when all are done, run stage=fit once more", store.folder)
        return None
    changes = [Changes.from_json(store.payload(name).read_text()) for name in samples]
    target = make_folder(Path(config.publish) if config.publish else PRESETS)
    made = f"stage=fit, {config.model.num_steps} steps, {len(samples)} samples of {config.calibrate.file}"
    name = config.model.name
    _put(target / f"{name}-teacache.yaml", made, "coefficients", teacache_coefficients(changes))
    _put(target / f"{name}-ratios.yaml", made, "ratios", magcache_ratios(changes))
    for method in ("magcache", "diffusers_magcache"):
        file = f"{name}-{method}.yaml"
        if not (PRESETS / file).exists():
            write_atomic(target / file, f"{HEAD}# the ratios of stage=fit\ndefaults: [{name}-ratios]\n")
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


def _measure(config: RunConfig, store: SampleStore, samples: Sequence[Sample]) -> None:
    pipe = load_pipeline(config.model, config.runtime)
    batches = in_batches(samples, config.calibrate.batch_size)
    for batch in track(batches, description="fit", total=len(batches)):
        method = BlockChanges()
        call_pipeline(config, pipe, method, batch, output_type="latent")
        for sample, changes in zip(batch, method.changes()):
            store.put(sample.name, changes.to_json().encode(), {"prompt": sample.prompt.text, "seed": sample.seed})

"""Generate: prompts x seeds with one method, into a run folder that explains itself and can be resumed."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from meancache.adapters import adapter_for
from meancache.artifacts import (
    SampleStore,
    content_hash,
    environment,
    fill,
    make_folder,
    weights_fingerprint,
    write_atomic,
)
from meancache.config import RunConfig
from meancache.pipelines import load_pipeline
from meancache.plan import Plan
from meancache.progress import track
from meancache.prompts import Sample, load_prompts
from meancache.protocols import VelocityMethod
from meancache.session import Session, attach
from meancache.timing import now, peak_memory_mib, reset_peak_memory

log = logging.getLogger(__name__)


def samples_of(config: RunConfig) -> list[Sample]:
    prompts = load_prompts(config.prompts.file, config.prompts.limit)
    return [Sample(prompt, seed) for seed in config.seeds for prompt in prompts]


def model_identity(config: RunConfig) -> dict[str, Any]:
    """What of the model and machine decides the numbers."""
    model = {key: value for key, value in asdict(config.model).items() if key not in ("weights", "download")}
    fingerprint = weights_fingerprint(config.model.path)
    device = config.runtime.device.split(":")[0]
    return model | {"fingerprint": fingerprint, "device": device, "compile": config.runtime.compile}


def run_folder(config: RunConfig, plan: Plan | None) -> Path:
    """Where this run lies: named by the hash of all that decides its samples and their latency."""
    identity = {
        "model": model_identity(config),
        "method": config.method | ({"plan": plan.to_json()} if plan else {}),
        "samples": [(sample.name, sample.prompt.text) for sample in samples_of(config)],
        "batch_size": config.runtime.batch_size,
    }
    name = f"{config.model.name}-{config.method['name']}-{content_hash(identity)}"
    return Path(config.output) / "runs" / name


def generate(config: RunConfig, method: VelocityMethod, plan: Plan | None) -> Path:
    """Make what is missing of the run. Returns its folder; DONE is in it once all shards are."""
    samples = {sample.name: sample for sample in samples_of(config)}
    store = SampleStore(run_folder(config, plan), ".png")
    make_folder(store.folder)

    def make(missing: list[str]) -> None:
        _describe(config, store.folder, plan)
        _generate(config, method, store, [samples[name] for name in missing])

    done = fill(store, list(samples), make, (config.shard.index, config.shard.count))
    if not done:
        log.info("%s waits for other shards", store.folder)
    return store.folder


def _describe(config: RunConfig, folder: Path, plan: Plan | None) -> None:
    write_atomic(folder / "config.yaml", OmegaConf.to_yaml(config.resolved))
    write_atomic(folder / "env.json", json.dumps(environment(config.runtime.device), indent=1))
    if plan is not None:
        write_atomic(folder / "plan.json", plan.to_json())


def _generate(config: RunConfig, method: VelocityMethod, store: SampleStore, samples: Sequence[Sample]) -> None:
    pipe = load_pipeline(config.model, config.runtime)
    size = config.runtime.batch_size
    batches = [samples[start : start + size] for start in range(0, len(samples), size)]
    for _ in range(config.runtime.warmup):
        call_pipeline(config, pipe, method, batches[0])
    reset_peak_memory(torch.device(config.runtime.device))
    for batch in track(batches, description=str(config.method["name"]), total=len(batches)):
        images, session, seconds = call_pipeline(config, pipe, method, batch)
        for sample, image in zip(batch, images):
            buffer = BytesIO()
            image.save(buffer, format="PNG")
            store.put(sample.name, buffer.getvalue(), _record(sample, session, seconds, len(batch)))


def call_pipeline(
    config: RunConfig,
    pipe: Any,
    method: VelocityMethod,
    batch: Sequence[Sample],
    *,
    full_history: bool = False,
    output_type: str = "pil",
) -> tuple[Any, Session, dict[str, float]]:
    """One pipeline call with the method attached: (images, session, seconds by stage for the whole batch)."""
    with attach(pipe, adapter_for(pipe), method, full_history=full_history) as session:
        began = now(session.device)
        output = pipe(
            prompt=[sample.prompt.text for sample in batch],
            generator=[torch.Generator().manual_seed(sample.noise_seed) for sample in batch],
            num_inference_steps=method.num_steps or config.model.num_steps,
            output_type=output_type,
            **config.model.call,
        )
        ended = now(session.device)
    clock = session.run.counters
    seconds = {
        "text": clock.began - began,
        "denoise": clock.ended - clock.began,
        "vae": ended - clock.ended,
        "total": ended - began,
    }
    return output.images, session, seconds


def _record(sample: Sample, session: Session, seconds: dict[str, float], batch_size: int) -> dict[str, Any]:
    return {
        "prompt_index": sample.prompt.index,
        "prompt": sample.prompt.text,
        "category": sample.prompt.category,
        "seed": sample.seed,
        "noise_seed": sample.noise_seed,
        "nfe": session.run.counters.nfe,
        "denoiser_calls": session.run.counters.denoiser_calls,
        "batch_size": batch_size,
        "seconds": {stage: value / batch_size for stage, value in seconds.items()},
        "peak_memory_mib": peak_memory_mib(session.device),
    }

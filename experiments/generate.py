"""Generate: prompts x seeds with one method, into a run folder that explains itself and can be resumed."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from PIL import Image

from meancache.artifacts import (
    SampleStore,
    content_hash,
    device_name,
    environment,
    fill,
    weights_fingerprint,
    write_atomic,
)
from meancache.config import ModelConfig, RunConfig
from meancache.flops import sample_flops
from meancache.media import mp4, png
from meancache.models import adapter_for
from meancache.pipelines import load_pipeline
from meancache.plan import Plan
from meancache.progress import track
from meancache.prompts import Sample, identity_of, in_batches, load_prompts
from meancache.protocols import Method
from meancache.session import Session, attach
from meancache.timing import now, peak_memory_mib, reset_peak_memory

log = logging.getLogger(__name__)

FORMAT = 2  # of records: a run in another one is made again


def samples_of(config: RunConfig) -> list[Sample]:
    suite = config.prompts
    prompts = load_prompts(suite.file, suite.limit, suite.categories, download=suite.download)
    return [Sample(prompt, seed) for seed in config.seeds for prompt in prompts]


def num_steps(config: RunConfig) -> int:
    """Solver steps of this run: the method's own number if it has one, else the model's."""
    return int(config.method.get("num_steps", config.model.num_steps))


def model_of(config: RunConfig) -> ModelConfig:
    """The model with what the method puts into it: a distilled denoiser and how that is called."""
    method = config.method
    transformer, call = method.get("transformer", config.model.transformer), config.model.call | method.get("call", {})
    return replace(config.model, transformer=transformer, call=call)


def model_identity(config: RunConfig) -> dict[str, Any]:
    """What of model, machine and libraries decides the numbers."""
    model = {key: value for key, value in asdict(config.model).items() if key in ("name", "pipeline", "dtype", "call")}
    return model | {
        "weights": weights_fingerprint(config.model.path),
        "revision": config.model.revision,
        "num_steps": config.model.num_steps,
        "device": config.runtime.device.split(":")[0],
        "compile": config.runtime.compile,
        "libraries": [version(name) for name in ("torch", "diffusers", "transformers")],
        **{key: value for key, value in _choices(config).items() if value},  # at their defaults names of runs stay
    }


def _choices(config: RunConfig) -> dict[str, Any]:
    model, runtime = model_of(config), config.runtime
    transformer = weights_fingerprint(model.transformer) if model.transformer else None
    return {"transformer": transformer} | {
        "vae_tiling": model.vae_tiling,
        "vae_dtype": model.vae_dtype,
        "attention": runtime.attention,
    }


def run_folder(config: RunConfig, plan: Plan | None) -> Path:
    """Where this run lies: named by the hash of all that decides its samples and their latency."""
    method = {key: value for key, value in config.method.items() if key != "plan"}
    path = (plan.nodes, plan.spans, plan.rule, plan.schedule and plan.schedule.sigmas) if plan else ()
    runtime = {"batch_size": config.runtime.batch_size, "threads": config.runtime.threads}
    identity = {
        "format": FORMAT,
        "model": model_identity(config),
        "method": method | {"name": "", "path": path},
        "samples": identity_of(samples_of(config)),
        "runtime": runtime | {"offload": config.runtime.offload},
    }
    name = f"{config.model.name}-{config.method['name']}-{content_hash(identity)}"
    return Path(config.output) / "runs" / name


def generate(config: RunConfig, method: Method, plan: Plan | None) -> Path:
    """Make what is missing of the run. Returns its folder; DONE is in it once all shards are."""
    log.info("%s", config.label)
    samples = {sample.name: sample for sample in samples_of(config)}
    store = SampleStore(run_folder(config, plan), ".png", copy=".mp4" if config.model.fps else "")

    def make(missing: list[str]) -> None:
        pipe = load_pipeline(model_of(config), config.runtime)  # first: it sets the threads that are told
        _describe(config, store.folder, plan)
        _generate(config, pipe, method, store, [samples[name] for name in missing])

    done = fill(store, list(samples), make, (config.shard.index, config.shard.count))
    if not done:
        log.info("%s waits for other shards; when all are done, run the next stage", store.folder)
    return store.folder


def _describe(config: RunConfig, folder: Path, plan: Plan | None) -> None:
    """Say what the run is. Whoever resumes it leaves this as it is: each record names its own hardware."""
    files = {
        "config.yaml": OmegaConf.to_yaml(config.resolved),
        "env.json": json.dumps(environment(config.runtime.device), indent=1),
        **({"plan.json": plan.to_json()} if plan else {}),
    }
    for name, text in files.items():
        if not (folder / name).exists():
            write_atomic(folder / name, text)


def _generate(config: RunConfig, pipe: Any, method: Method, store: SampleStore, samples: Sequence[Sample]) -> None:
    batches = in_batches(samples, config.runtime.batch_size)
    for _ in range(config.runtime.warmup):
        call_pipeline(config, pipe, method, batches[0])
    reset_peak_memory(torch.device(config.runtime.device))
    for batch in track(batches, description=str(config.method["name"]), total=len(batches)):
        images, session, seconds = call_pipeline(config, pipe, method, batch)
        flops = flops_of(config, pipe, session)
        for sample, image in zip(batch, images):
            record = _record(sample, session, seconds, len(batch), flops)
            video = b""
            if config.model.fps is not None:
                record["num_frames"], video = len(image), mp4(image, config.model.fps)
            store.put(sample.name, png(image), record, video)


def call_pipeline(
    config: RunConfig,
    pipe: Any,
    method: Method,
    batch: Sequence[Sample],
    *,
    keep: bool = False,
    output_type: str = "pil",
) -> tuple[Any, Session, dict[str, float]]:
    """One pipeline call with the method attached: (images, session, seconds by stage for the whole batch).

    Of a video pipeline, an image is a list of frames.
    """
    with attach(pipe, adapter_for(pipe), method, keep=keep) as session:
        began = now(session.device)
        output = pipe(
            prompt=[sample.prompt.text for sample in batch],
            generator=[torch.Generator().manual_seed(sample.noise_seed) for sample in batch],
            num_inference_steps=num_steps(config),
            output_type=output_type,
            **call_arguments(model_of(config).call, len(batch)),
        )
        ended = now(session.device)
    clock = session.run
    seconds = {
        "text": clock.began - began,
        "denoise": clock.ended - clock.began,
        "vae": ended - clock.ended,
        "total": ended - began,
    }
    return output.images if config.model.fps is None else output.frames, session, seconds


def call_arguments(call: Mapping[str, Any], num_prompts: int) -> dict[str, Any]:
    """The arguments of a call with so many prompts: not every pipeline repeats a negative prompt by itself.

    Raises:
        ValueError: the pipeline takes a picture, and there is none.
    """
    arguments = dict(call)
    if call.get("negative_prompt") is not None:
        arguments["negative_prompt"] = [call["negative_prompt"]] * num_prompts
    if "image" in call:
        if call["image"] is None or not Path(call["image"]).is_file():
            raise ValueError(f"this model starts from a picture: model.call.image is no file, got {call['image']!r}")
        arguments["image"] = Image.open(call["image"]).convert("RGB")
    return arguments


def flops_of(config: RunConfig, pipe: Any, session: Session) -> dict[str, float | None] | None:
    """FLOPs of one sample of the session's latest run, or None under another library, whose work is not known."""
    if session.is_watched:
        return None
    run = session.run
    assert run.final_latents is not None
    size, call = len(run.final_latents), config.model.call
    flops = sample_flops(
        pipe, session.adapter, works=run.ledger.works, arguments=run.ledger.arguments, batch_size=size, call=call
    )
    return asdict(flops)


def _record(
    sample: Sample, session: Session, seconds: dict[str, float], batch_size: int, flops: dict[str, float | None] | None
) -> dict[str, Any]:
    return {
        "prompt_index": sample.prompt.index,
        "prompt": sample.prompt.text,
        "category": sample.prompt.category,
        "seed": sample.seed,
        "noise_seed": sample.noise_seed,
        "nfe": session.run.nfe,
        "denoiser_calls": session.run.ledger.denoiser_calls,
        "batch_size": batch_size,
        "device": device_name(session.device),
        "seconds": {stage: value / batch_size for stage, value in seconds.items()},
        "peak_memory_mib": peak_memory_mib(session.device),
        "flops": flops,
    }

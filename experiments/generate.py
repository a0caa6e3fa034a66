"""Generate: prompts x seeds with one method, into a run folder that explains itself and can be resumed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from PIL import Image

from experiments.job import Job
from meancache.artifacts import device_name, environment
from meancache.flops import sample_flops
from meancache.media import mp4, png
from meancache.models import adapter_for
from meancache.pipelines import load_pipeline
from meancache.progress import progress_bar
from meancache.prompts import Sample, in_batches
from meancache.protocols import Method, ResidualMethod
from meancache.session import Run, Session, attach
from meancache.timing import now, peak_memory_mib, reset_peak_memory

log = logging.getLogger(__name__)

SEES_BATCH = "its decisions are means over a batch: a sample depends on its neighbours there"


@dataclass(frozen=True)
class Call:
    """What one pipeline call gave.

    Attributes:
        images: a picture, or a list of frames, for each prompt; latents where those were asked for.
        session: the session it ran in.
        seconds: of the whole batch, by stage: "text", "denoise", "vae" and "total".
    """

    images: Any
    session: Session
    seconds: Mapping[str, float]

    @property
    def run(self) -> Run:
        return self.session.run


def make_samples(job: Job, missing: Sequence[str]) -> None:
    """Make these samples of the job's run."""
    config = job.config
    pipe = load_pipeline(config.model, config.runtime)  # first: it sets the threads that env.json names
    plan = job.plan.to_json() if job.plan else None
    job.folder.describe(OmegaConf.to_yaml(config.resolved), environment(config.runtime.device), plan)
    samples = [sample for sample in job.samples if sample.name in set(missing)]
    batches = in_batches(samples, config.runtime.batch_size)
    reset_peak_memory(torch.device(config.runtime.device))
    for batch in progress_bar(batches, description=str(config.method["name"]), total=len(batches)):
        call = call_pipeline(job, pipe, job.method, batch)
        facts = _facts(job, pipe, call.session, len(batch))
        for sample, image in zip(batch, call.images):
            of_video = {} if config.model.fps is None else {"num_frames": len(image)}
            video = b"" if config.model.fps is None else mp4(image, config.model.fps)
            job.folder.put(sample.name, png(image), video, **_named(sample), **facts, **of_video)


def call_pipeline(
    job: Job,
    pipe: Any,
    method: Method,
    batch: Sequence[Sample],
    *,
    keep: bool = False,
    output_type: str = "pil",
) -> Call:
    """Call the pipeline with the method attached; with ``keep``, the run's trajectory stays whole."""
    with attach(pipe, adapter_for(pipe), method, keep=keep) as session:
        began = now(session.device)
        output = pipe(
            prompt=[sample.prompt.text for sample in batch],
            generator=[torch.Generator().manual_seed(sample.noise_seed) for sample in batch],
            num_inference_steps=job.num_steps,
            output_type=output_type,
            **call_arguments(job.model.call, len(batch)),
        )
        ended = now(session.device)
    clock = session.run
    seconds = {
        "text": clock.began - began,
        "denoise": clock.ended - clock.began,
        "vae": ended - clock.ended,
        "total": ended - began,
    }
    return Call(output.images if job.model.fps is None else output.frames, session, seconds)


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


def flops_of(job: Job, pipe: Any, session: Session) -> dict[str, float | None] | None:
    """FLOPs of one sample of the session's latest run, or None under another library, whose work is not known."""
    if session.is_watched:
        return None
    books, latents = session.run.ledger, session.run.final_latents
    assert latents is not None
    size, call = len(latents), job.model.call
    flops = sample_flops(
        pipe, session.adapter, works=books.works, arguments=books.arguments, batch_size=size, call=call
    )
    return asdict(flops)


def _named(sample: Sample) -> dict[str, Any]:
    prompt = sample.prompt
    return {
        "prompt_index": prompt.index,
        "prompt": prompt.text,
        "category": prompt.category,
        "seed": sample.seed,
        "noise_seed": sample.noise_seed,
    }


def _facts(job: Job, pipe: Any, session: Session, batch_size: int) -> dict[str, Any]:
    """What the records of a batch have in common."""
    method, run = job.method, session.run
    sees_batch = isinstance(method, ResidualMethod) and method.sees_batch and batch_size > 1
    return {
        "nfe": run.nfe,
        "steps": run.ledger.steps,
        "denoiser_calls": run.ledger.denoiser_calls,
        "batch_size": batch_size,
        "device": device_name(session.device),
        "peak_memory_mib": peak_memory_mib(session.device),
        "flops": flops_of(job, pipe, session),
        "notes": (SEES_BATCH,) if sees_batch else (),
    }

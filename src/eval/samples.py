"""What a finished run folder holds: its records, its pictures, and which picture answers which reference."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor


@dataclass(frozen=True)
class Record:
    """One generated sample, one line of records.jsonl.

    Attributes:
        sample: name of the sample, "<prompt index>-<seed>".
        prompt_index: position of the prompt in its suite.
        prompt: the text.
        category: category of the prompt, or "".
        seed: seed of its noise.
        file: path of the picture, or of the strip of a video's frames, relative to the run folder.
        sha256: hash of the bytes of that file.
        nfe: computed solver steps; a step of which only some branches were computed counts by their share.
        denoiser_calls: calls of the denoiser, all branches.
        batch_size: samples that were generated at once.
        device: make of the GPU or processor that generated it.
        seconds: time per sample of "text", "denoise", "vae" and "total".
        peak_memory_mib: peak memory while it was generated, MiB.
        flops: floating-point operations of the "denoiser" and of the whole "pipeline", or None where they are not
            known: an unknown model, or another library's cache, which does not say what it computes.
        num_frames: of a video; None for a picture.
    """

    sample: str
    prompt_index: int
    prompt: str
    category: str
    seed: int
    file: str
    sha256: str
    nfe: float
    denoiser_calls: int
    batch_size: int
    device: str
    seconds: Mapping[str, float]
    peak_memory_mib: float
    flops: Mapping[str, float | None] | None
    num_frames: int | None = None

    @property
    def key(self) -> tuple[int, int]:
        """What a sample is matched on: prompt and seed."""
        return self.prompt_index, self.seed


def read_records(run: Path) -> list[Record]:
    """Records of a finished run, in the order they were written.

    Raises:
        ValueError: the run is unfinished or empty, a line is malformed, or a prompt and seed occur twice.
    """
    for name in ("DONE", "records.jsonl"):
        if not (run / name).is_file():
            raise ValueError(f"{run} is not a finished run: {name} is missing; run it again with stage=generate")
    path = run / "records.jsonl"
    lines = path.read_text().splitlines()
    records = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    if not records:
        raise ValueError(f"{path} holds no samples; run it again with stage=generate")
    if len({record.key for record in records}) < len(records):
        raise ValueError(f"{path} holds the same prompt and seed twice; delete the run and use stage=generate again")
    return records


def hash_records(run: Path) -> str:
    """Content hash of the records of a run, which hold the hash of every picture."""
    return hashlib.sha256((run / "records.jsonl").read_bytes()).hexdigest()


def read_metrics(run: Path) -> dict[str, Any] | None:
    """The content of metrics.json, or None if the run was never evaluated.

    Raises:
        ValueError: the file is damaged.
    """
    path = run / "metrics.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        return {key: content[key] for key in ("reference", "records", "metrics")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); delete it and run stage=evaluate again") from error


def _parse(line: str, place: str) -> Record:
    try:
        content = json.loads(line)
        return Record(**{f.name: content[f.name] for f in fields(Record) if f.default is MISSING or f.name in content})
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{place} is not a record ({type(error).__name__}: {error}); run it again with stage=generate"
        ) from error


def pair_records(run: Path, reference: Path) -> list[tuple[Record, Record]]:
    """Each sample of ``run`` with the sample of ``reference`` that has the same prompt and seed.

    Raises:
        ValueError: a sample without a reference, or a prompt that reads differently in the two runs.
    """
    references = {record.key: record for record in read_records(reference)}
    records = read_records(run)
    missing = [record.sample for record in records if record.key not in references]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(records)} samples of {run} have no reference in {reference}, the first is "
            f"{missing[0]}; generate the reference run with the same prompts and seeds"
        )
    pairs = [(record, references[record.key]) for record in records]
    for record, answer in pairs:
        if record.prompt != answer.prompt:
            raise ValueError(
                f"sample {record.sample} has prompt {record.prompt!r} in {run}, but {answer.prompt!r} in {reference}; "
                "generate both runs from the same prompt file"
            )
    return pairs


def load_sample(run: Path, record: Record) -> Tensor:
    """The picture or video of a record, after checking that it is the one that was recorded. ([T,] 3, H, W) in [0, 1]

    Raises:
        ValueError: the file is missing, damaged or not the recorded one.
    """
    image = load_image(run / record.file, sha256=record.sha256)
    return image if record.num_frames is None else image.unflatten(1, (record.num_frames, -1)).transpose(0, 1)


def load_image(path: Path, *, sha256: str | None = None) -> Tensor:
    """A picture as float32 RGB. (3, H, W) in [0, 1]

    Args:
        path: picture file.
        sha256: the hash its bytes must have, when known.

    Raises:
        ValueError: the picture is missing, truncated or otherwise unreadable, or has another hash.
    """
    try:
        content = path.read_bytes()
        with PngImageFile(BytesIO(content)) as image:  # Image.open refuses the strips of long videos
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, zlib.error) as error:
        raise ValueError(f"cannot read the picture {path} ({error}); run it again with stage=generate") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is not the picture that was recorded for it; run it again with stage=generate")
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255

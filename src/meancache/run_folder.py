"""A run folder: the samples of one method on one suite, and all that is known of them.

    config.yaml, env.json, plan.json   what was run, on what
    samples/                           a PNG a sample (of a video the strip of its frames, and an MP4), and its record
    records.jsonl, DONE                all records, once the samples of all shards are there
    vbench/                            what VBench's worker was given, and its scores
    metrics.json, timing.json          how close to the reference, and how fast
    grid.png, plan.png, table.*        to look at

Nothing else reads or writes these files.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from meancache.artifacts import SampleStore, checksum, make_folder, write_atomic

if TYPE_CHECKING:
    from torch import Tensor  # takes seconds: only who looks at pictures pays for it

FORMAT = 3  # of records: a run in another one is made again


@dataclass(frozen=True)
class Record:
    """One generated sample, one line of records.jsonl.

    Attributes:
        sample: name of the sample, "<prompt index>-<seed>".
        prompt_index: position of the prompt in its suite.
        prompt: the text.
        category: category of the prompt, or "".
        seed: seed of its noise, as the configuration has it.
        noise_seed: seed of its noise, as the generator got it.
        file: path of the picture, or of the strip of a video's frames, relative to the run folder.
        sha256: hash of the bytes of that file.
        nfe: computed solver steps; a step of which only some branches were computed counts by their share.
        denoiser_calls: calls of the denoiser, all branches.
        batch_size: samples that were generated at once.
        device: make of the GPU or processor that generated it.
        peak_memory_mib: peak memory while it was generated, MiB.
        flops: floating-point operations of the "denoiser" and of the whole "pipeline", or None where they are not
            known: an unknown model, or another library's cache, which does not say what it computes.
        num_frames: of a video; None for a picture.
        steps: of each solver step, the share that was computed, 0 to 1; None in runs of older versions.
        notes: what a reader must know of how it was made.
    """

    sample: str
    prompt_index: int
    prompt: str
    category: str
    seed: int
    noise_seed: int
    file: str
    sha256: str
    nfe: float
    denoiser_calls: int
    batch_size: int
    device: str
    peak_memory_mib: float
    flops: Mapping[str, float] | None
    num_frames: int | None = None
    steps: Sequence[float] | None = None
    notes: Sequence[str] = ()

    @property
    def key(self) -> tuple[int, int]:
        """What a sample is matched on: prompt and seed."""
        return self.prompt_index, self.seed

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """Raises ValueError, KeyError or TypeError if the text is no record."""
        content = json.loads(text)
        return cls(**{f.name: content[f.name] for f in fields(cls) if f.default is MISSING or f.name in content})


@dataclass(frozen=True)
class RunFolder:
    """The only reader and writer of a run folder."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def is_done(self) -> bool:
        return (self.path / "DONE").exists()

    def store(self, *, is_video: bool) -> SampleStore:
        """Its samples, as they are made."""
        return SampleStore(self.path, ".png", copy=".mp4" if is_video else "")

    def describe(self, config: str, environment: Mapping[str, Any], plan: str | None) -> None:
        """Say what the run is. Whoever resumes it leaves this as it is: each record names its own hardware."""
        texts = {"config.yaml": config, "env.json": json.dumps(environment, indent=1), "plan.json": plan}
        for name, text in texts.items():
            if text is not None and not (self.path / name).exists():
                self.write(name, text)

    def put(self, sample: str, payload: bytes, video: bytes, **facts: Any) -> None:
        """Store a sample: the bytes of its PNG, and of the MP4 of a video; ``facts`` are the other fields of Record."""
        store = self.store(is_video=bool(video))
        file = str(store.payload(sample).relative_to(self.path))
        record = Record(sample=sample, file=file, sha256=checksum(payload), **facts)
        store.put(sample, payload, asdict(record), video)

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file of the folder, whole or not at all."""
        write_atomic(make_folder(self.path) / name, content)

    def records(self) -> list[Record]:
        """Records of the finished run, in the order of its prompts and seeds.

        Raises:
            ValueError: the run is unfinished or empty, a line is malformed, or a prompt and seed occur twice.
        """
        for name in ("DONE", "records.jsonl"):
            if not (self.path / name).is_file():
                raise ValueError(
                    f"{self.path} is not a finished run: {name} is missing; run it again with stage=generate"
                )
        path = self.path / "records.jsonl"
        lines = path.read_text().splitlines()
        records = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
        if not records:
            raise ValueError(f"{path} holds no samples; run it again with stage=generate")
        if len({record.key for record in records}) < len(records):
            raise ValueError(f"{path} holds a prompt and seed twice; delete the run and use stage=generate again")
        return records

    def hash_records(self) -> str:
        """Content hash of the records, which hold the hash of every picture."""
        return checksum((self.path / "records.jsonl").read_bytes())

    def pairs(self, reference: "RunFolder") -> list[tuple[Record, Record]]:
        """Each sample with the sample of ``reference`` that has the same prompt and seed.

        Raises:
            ValueError: a sample without a reference, or a prompt that reads differently in the two runs.
        """
        references = {record.key: record for record in reference.records()}
        records = self.records()
        missing = [record.sample for record in records if record.key not in references]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(records)} samples of {self.path} have no reference in {reference.path}, the "
                f"first is {missing[0]}; generate the reference run with the same prompts and seeds"
            )
        pairs = [(record, references[record.key]) for record in records]
        for record, other in pairs:
            if record.prompt != other.prompt:
                raise ValueError(
                    f"sample {record.sample} has prompt {record.prompt!r} in {self.path}, but {other.prompt!r} in "
                    f"{reference.path}; generate both runs from the same prompt file"
                )
        return pairs

    def load(self, record: Record) -> "Tensor":
        """The picture or video of a record, checked to be the one recorded. ([T,] 3, H, W) in [0, 1]

        Raises:
            ValueError: the file is missing, damaged or not the recorded one.
        """
        image = load_image(self.path / record.file, sha256=record.sha256)
        return image if record.num_frames is None else image.unflatten(1, (record.num_frames, -1)).transpose(0, 1)

    def to_look_at(self, record: Record) -> Path:
        """The picture, or the MP4 beside a video's frames."""
        file = self.path / record.file
        return file if record.num_frames is None else file.with_suffix(".mp4")

    def config(self) -> dict[str, Any]:
        """The configuration it was made with.

        Raises:
            ValueError: it does not name label, method and model.
        """
        path = self.path / "config.yaml"
        try:
            content: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
            for key in ("method", "model"):
                str(content[key]["name"])
            str(content["label"])
        except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
            raise ValueError(f"{path} does not name label, method.name and model.name: {error!r}") from error
        return content

    def metrics(self) -> dict[str, Any] | None:
        """The content of metrics.json, or None if the run was never evaluated.

        Raises:
            ValueError: the file is damaged.
        """
        return self._json("metrics.json", ("reference", "records", "metrics"), "evaluate")

    def timing(self) -> dict[str, Any] | None:
        """The content of timing.json, or None if the run was never timed.

        Raises:
            ValueError: the file is damaged.
        """
        return self._json("timing.json", ("identity", "reference", "interleaved", "seconds"), "time")

    def _json(self, name: str, keys: tuple[str, ...], stage: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text())
            for entry in dict(content.get("metrics", {})).values():
                _ = entry["value"]
            return {key: content[key] for key in keys}
        except (AttributeError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); delete it and run stage={stage} again") from error


def _parse(line: str, place: str) -> Record:
    try:
        return Record.from_json(line)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{place} is not a record ({type(error).__name__}: {error}); run it again with stage=generate"
        ) from error


def load_image(path: Path, *, sha256: str | None = None) -> "Tensor":
    """A picture as float32 RGB. (3, H, W) in [0, 1]

    Args:
        path: picture file.
        sha256: the hash its bytes must have, when known.

    Raises:
        ValueError: the picture is missing, truncated or otherwise unreadable, has 16 bits a channel, or another hash.
    """
    import numpy as np
    import torch
    from PIL.PngImagePlugin import PngImageFile

    try:
        content = path.read_bytes()
        with PngImageFile(BytesIO(content)) as image:  # Image.open refuses the strips of long videos
            mode, pixels = image.mode, np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, zlib.error) as error:
        raise ValueError(f"cannot read the picture {path} ({error}); run it again with stage=generate") from error
    if mode.startswith("I"):
        raise ValueError(f"{path} has 16 bits a channel: 8 are expected")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is not the picture that was recorded for it; run it again with stage=generate")
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255

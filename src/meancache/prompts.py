"""Prompt suites: text files with one prompt a line, or .jsonl with the fields prompt and category."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Prompt:
    """A prompt and its place in its suite."""

    index: int
    text: str
    category: str = ""


@dataclass(frozen=True)
class Sample:
    """One picture to be made: a prompt with a seed."""

    prompt: Prompt
    seed: int

    @property
    def name(self) -> str:
        return f"{self.prompt.index:05d}-{self.seed}"

    @property
    def noise_seed(self) -> int:
        """Seed of the sample's noise: its own for every prompt and seed, whatever the batch or the shard."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{self.prompt.text}".encode()).digest()[:6], "big")


def identity_of(samples: Iterable[Sample]) -> list[tuple[str, str]]:
    """What of samples decides their results, for a content hash."""
    return [(sample.name, sample.prompt.text) for sample in samples]


def in_batches(samples: Sequence[Sample], size: int) -> list[Sequence[Sample]]:
    """The samples in order, ``size`` at a time."""
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def load_prompts(file: str | Path | None, limit: int | None = None) -> list[Prompt]:
    """Read a suite.

    Args:
        file: .txt (blank lines and lines starting with # are left out) or .jsonl.
        limit: take so many, spread evenly over the suite, so that its categories stay represented.

    Raises:
        ValueError: no such file, a line that cannot be read, no prompts, or limit < 1.
    """
    if file is None:
        raise ValueError("this model has no prompt suite of its own: name one with prompts.file and calibrate.file")
    path = Path(file)
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    except OSError as error:
        raise ValueError(f"cannot read the prompt suite {path}: {error.strerror}") from error
    if path.suffix == ".jsonl":
        prompts = [_parse(path, index, line) for index, line in enumerate(lines)]
    else:
        prompts = [Prompt(index, line.strip()) for index, line in enumerate(lines)]
    if not prompts:
        raise ValueError(f"the prompt suite {path} has no prompts")
    if limit is None or limit >= len(prompts):
        return prompts
    if limit < 1:
        raise ValueError(f"the prompt limit must be >= 1 or null, got {limit}")
    return [prompts[position * len(prompts) // limit] for position in range(limit)]


def _parse(path: Path, index: int, line: str) -> Prompt:
    try:
        content = json.loads(line)
        return Prompt(index, str(content["prompt"]), str(content.get("category", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}, prompt {index}: not a JSON object with a field 'prompt': {error}") from error

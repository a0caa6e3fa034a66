"""Prompt suites: of the literature by their names, or files of your own."""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meancache.suites import SUITES, open_suite

CATEGORY_SEPARATOR = "+"


@dataclass(frozen=True)
class Prompt:
    """A prompt and its place in its suite; where it is of several categories, ``category`` joins them."""

    index: int
    text: str
    category: str = ""

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(filter(None, self.category.split(CATEGORY_SEPARATOR)))


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


def load_prompts(
    file: str | Path | None,
    limit: int | None = None,
    categories: Collection[str] | None = None,
    *,
    download: bool = False,
) -> list[Prompt]:
    """Read a suite.

    Args:
        file: a name (drawbench, vbench, t2v_compbench), or a file: text with one prompt a line (blank lines and lines
            starting with # are left out), .jsonl with the fields prompt and category, or .json as VBench writes it.
        limit: take so many, spread evenly over the suite, so that its categories stay represented.
        categories: take prompts of these alone.
        download: a named suite that is not on this machine may be fetched.

    Raises:
        ValueError: no such file or suite, a line that cannot be read, no prompts, no such category, or limit < 1.
    """
    if file is None:
        raise ValueError("this model has no prompt suite of its own: name one with prompts.file and calibrate.file")
    files = open_suite(str(file), download=download) if str(file) in SUITES else [(Path(file), "")]
    entries = [entry for path, category in files for entry in _read(path, category)]
    prompts = [Prompt(index, text, category) for index, (text, category) in enumerate(entries)]
    if not prompts:
        raise ValueError(f"the prompt suite {file} has no prompts")
    if categories is not None:
        prompts = _of_categories(prompts, categories, file)
    if limit is None or limit >= len(prompts):
        return prompts
    if limit < 1:
        raise ValueError(f"the prompt limit must be >= 1 or null, got {limit}")
    return [prompts[position * len(prompts) // limit] for position in range(limit)]


def _of_categories(prompts: list[Prompt], categories: Collection[str], file: str | Path) -> list[Prompt]:
    known = list(dict.fromkeys(name for prompt in prompts for name in prompt.categories))
    unknown = [name for name in categories if name not in known]
    if unknown or not categories:
        has = f"it has {', '.join(known)}" if known else "its prompts name none"
        raise ValueError(f"the prompt suite {file} has no categories {unknown}: {has}; null takes all")
    return [prompt for prompt in prompts if not set(categories).isdisjoint(prompt.categories)]


def _read(path: Path, category: str) -> list[tuple[str, str]]:
    """Prompts of a file, each with its category or, where it has none, ``category``."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        names = ", ".join(SUITES)
        raise ValueError(f"cannot read the prompt suite {path}: {error.strerror}; known by name: {names}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"the prompt suite {path} is no UTF-8 text: {error.reason}") from error
    if path.suffix == ".json":
        return _read_vbench(path, text)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if path.suffix == ".jsonl":
        return [_parse(path, index, line, category) for index, line in enumerate(lines)]
    return [(line, category) for line in lines]


def _parse(path: Path, index: int, line: str, category: str) -> tuple[str, str]:
    try:
        content = json.loads(line)
        return str(content["prompt"]), str(content.get("category", category))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}, prompt {index}: not a JSON object with a field 'prompt': {error}") from error


def _read_vbench(path: Path, text: str) -> list[tuple[str, str]]:
    """VBench's full info: one category for each dimension that a prompt is scored on."""
    try:
        return [(str(entry["prompt_en"]), CATEGORY_SEPARATOR.join(entry["dimension"])) for entry in json.loads(text)]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a JSON list of objects with prompt_en and dimension: {error}") from error

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
        limit: take so many, spread evenly over the suite, so that its categories stay represented; where prompts are of
            several categories, see ``spread_over_categories``.
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
    if any(len(prompt.categories) > 1 for prompt in prompts):
        return spread_over_categories(prompts, limit)
    return _spread(prompts, limit)


def _spread(prompts: Sequence[Prompt], count: int) -> list[Prompt]:
    return [prompts[position * len(prompts) // count] for position in range(count)]


def spread_over_categories(prompts: Sequence[Prompt], limit: int) -> list[Prompt]:
    """So many prompts that every category gets its share, as MeanCache draws 350 of VBench's over its 16 dimensions.

    A prompt counts for each of its categories; those without one are a category of their own. Again and again the
    category with the fewest prompts so far gets one more, from that group of prompts with the same categories of which
    the smallest share is taken; the first of the suite wins ties. Each group's prompts are then spread evenly over it.
    No chance is involved: the draw is the same everywhere. Of VBench's official list, 350 give each dimension 31 or 32.
    """
    groups: dict[tuple[str, ...], list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.categories or ("",), []).append(prompt)
    taken = dict.fromkeys(groups, 0)
    for _ in range(limit):
        left = [names for names in groups if taken[names] < len(groups[names])]
        counts = {name: sum(taken[names] for names in groups if name in names) for names in left for name in names}
        fewest = min(counts, key=counts.__getitem__)
        chosen = min((names for names in left if fewest in names), key=lambda names: taken[names] / len(groups[names]))
        taken[chosen] += 1
    spread = [prompt for names, count in taken.items() if count for prompt in _spread(groups[names], count)]
    return sorted(spread, key=lambda prompt: prompt.index)


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

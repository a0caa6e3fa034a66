"""What lies on disk: run folders and calibration folders, found again by the hash of what went into them.

Every file appears whole or not at all (written beside itself, then renamed), so a run killed at any moment goes on
where it was. A sample exists when its record does and the picture's checksum agrees with it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import torch  # takes seconds: a job that finds all its work done does without

log = logging.getLogger(__name__)


def content_hash(content: Any) -> str:
    """Ten hex digits that name this JSON-like content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    partial.write_bytes(data.encode() if isinstance(data, str) else data)
    os.replace(partial, path)


def make_folder(path: Path) -> Path:
    """Create a folder that we can write to.

    Raises:
        ValueError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"cannot write to {path}: {error.strerror}") from error
    return path


@contextmanager
def locked(folder: Path, name: str = "work") -> Iterator[None]:
    """Hold the folder's lock; jobs that need the same thing wait, then find it done. A killed holder lets go."""
    lock = FileLock(make_folder(folder) / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another job that works in %s", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def environment(device: str) -> dict[str, Any]:
    """Versions, hardware and code state, to lie beside every number."""
    import torch

    packages = ("torch", "diffusers", "transformers", "accelerate")
    return {
        "git": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device_name(torch.device(device)),
    }


def device_name(device: torch.device) -> str:
    """Make of the GPU or processor."""
    if device.type != "cuda":
        return _processor()
    import torch

    return torch.cuda.get_device_name(device)


def _git(*arguments: str) -> str | None:
    here = Path(__file__).parent
    done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


@lru_cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()


@dataclass(frozen=True)
class SampleStore:
    """A folder of samples, each a payload file and a record that vouches for it.

    Attributes:
        folder: holds ``samples/``, ``records.jsonl`` and ``DONE``.
        suffix: of the payload files.
        copy: suffix of a second file beside each, made of the same sample to look at, e.g. an MP4.
    """

    folder: Path
    suffix: str
    copy: str = ""

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    def payload(self, name: str) -> Path:
        return self.samples / f"{name}{self.suffix}"

    def put(self, name: str, payload: bytes, record: Mapping[str, Any], copy: bytes = b"") -> None:
        """Store one sample: files first, then the record that makes it count."""
        if self.copy:
            write_atomic(self.samples / f"{name}{self.copy}", copy)
        write_atomic(self.payload(name), payload)
        file = str(self.payload(name).relative_to(self.folder))
        entry = {"sample": name, **record, "file": file, "sha256": checksum(payload)}
        write_atomic(self.samples / f"{name}.json", json.dumps(entry))

    def record(self, name: str) -> dict[str, Any] | None:
        """The record of a sample, or None if it is missing or damaged and must be made (again)."""
        try:
            entry = json.loads((self.samples / f"{name}.json").read_text())
            if entry["sha256"] == checksum(self.payload(name).read_bytes()):
                return entry if not self.copy or (self.samples / f"{name}{self.copy}").exists() else None
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            pass
        log.warning("sample %s in %s is damaged; it is made again", name, self.folder)
        return None

    def finish(self, names: list[str]) -> bool:
        """Write records.jsonl and DONE if every sample is there; False while other shards still work."""
        records = [self.record(name) for name in names]
        if None in records:
            return False
        text = "".join(json.dumps(record) + "\n" for record in records)
        target = self.folder / "records.jsonl"
        if not target.exists() or target.read_text() != text:
            write_atomic(target, text)
        write_atomic(self.folder / "DONE", "")
        for left_over in self.samples.glob(".*.partial"):  # of jobs that were killed
            left_over.unlink(missing_ok=True)
        return True


def make_missing(
    store: SampleStore, names: list[str], make: Callable[[list[str]], None], shard: tuple[int, int]
) -> bool:
    """Make what is missing of this shard's samples. True once the samples of all shards are there.

    Args:
        store: where samples go.
        names: all samples of the run.
        make: makes and stores the samples it is given.
        shard: index and count; this job makes every count-th sample from index on.
    """
    index, count = shard
    make_folder(store.samples)
    with locked(store.folder, f"shard-{index}-of-{count}"):
        missing = [name for name in names[index::count] if store.record(name) is None]
        if missing:
            (store.folder / "DONE").unlink(missing_ok=True)
            make(missing)
        else:
            log.info("reused: %s (all %d samples are there)", store.folder, len(names[index::count]))
        return store.finish(names)

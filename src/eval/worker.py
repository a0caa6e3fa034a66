"""The process boundary: scores that another environment's packages compute, since they cannot be installed beside ours.

A worker is a script that the other environment's interpreter runs by its path; it knows nothing of this package. It
reads a manifest, JSON lines, and prints its scores to its standard output, a JSON line each as soon as it has it: the
``key`` of the task, and a ``score`` (null for what the scorer leaves out) or an ``error``. We write each line down at
once and move the progress bar. What it says on standard error goes to a log beside the scores. Its standard input is
ours to hold: when it closes, we are gone, and so should the worker be.

A task is named by all that decides its score, so a run that was killed goes on where it was, and scores of other
videos or other weights are never taken for these.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from meancache.artifacts import content_hash, locked, make_folder, write_atomic
from meancache.progress import progress_bar


@dataclass(frozen=True)
class Task:
    """One score to be computed.

    Attributes:
        sample: name of the sample.
        part: what of the scorer, e.g. a dimension of VBench.
        facts: what else decides the score, e.g. the file's checksum, the prompt, the scorer's version and weights.
        paths: where things lie, which decides nothing.
    """

    sample: str
    part: str
    facts: Mapping[str, Any]
    paths: Mapping[str, str]

    @property
    def key(self) -> str:
        return content_hash({"sample": self.sample, "part": self.part, **self.facts})

    def to_json(self) -> str:
        return json.dumps({"key": self.key, "sample": self.sample, "part": self.part, **self.facts, **self.paths})


@dataclass(frozen=True)
class Worker:
    """A script and the interpreter that runs it.

    Attributes:
        name: what messages call it.
        python: the other environment's interpreter.
        script: the worker's own file.
    """

    name: str
    python: Path
    script: Path

    def scores(self, tasks: Sequence[Task], folder: Path, device: str) -> dict[str, dict[str, Any]]:
        """The line that the worker wrote for each task, by its key; those in ``folder`` are not computed again.

        Args:
            tasks: what to score.
            folder: holds scores.jsonl, and what the worker was given and said.
            device: where it computes, e.g. "cpu" or "cuda:1"; it sees no other GPU.

        Raises:
            ValueError: the worker died; the message has its last words, and what it computed is kept.
        """
        with locked(make_folder(folder)):
            written = read_scores(folder / "scores.jsonl")
            known = {key: line for key, line in written.items() if "error" not in line}
            missing = [task for task in tasks if task.key not in known]
            if missing:
                manifest = folder / "manifest.jsonl"
                write_atomic(manifest, "".join(task.to_json() + "\n" for task in missing))
                for line in self._run(manifest, folder, device, len(missing)):
                    known[line["key"]] = line
        return {task.key: known[task.key] for task in tasks}

    def _run(self, manifest: Path, folder: Path, device: str, total: int) -> Iterator[dict[str, Any]]:
        """Lines of the worker as they come, written down first."""
        kind = device.partition(":")[0]
        log, keys = folder / "worker.log", set()
        with (folder / "scores.jsonl").open("a") as scores, log.open("w") as errors:
            process = subprocess.Popen(
                [str(self.python), "-I", str(self.script), str(manifest), kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment_for(device, os.environ),
                text=True,
            )
            assert process.stdout is not None
            try:
                for line in progress_bar(self._lines(process.stdout), description=self.name, total=total):
                    scores.write(json.dumps(line) + "\n")
                    scores.flush()
                    keys.add(line["key"])
                    yield line
            except BaseException:
                process.kill()
                raise
            finally:
                code = process.wait()
        if code or len(keys) < total:
            raise ValueError(
                f"the worker for {self.name} ended with code {code} after {len(keys)} of {total} scores, which are "
                f"kept; its last words: {_last_line(log)!r} ({log})"
            )

    def _lines(self, stream: IO[str]) -> Iterator[dict[str, Any]]:
        for text in stream:
            try:
                yield _score_line(text)
            except ValueError as error:
                raise ValueError(f"the worker for {self.name} printed {text.strip()!r}, which is no score") from error


def read_scores(path: Path) -> dict[str, dict[str, Any]]:
    """Lines of a score file by key, the last of each. A line that was cut off when its writer was killed is removed."""
    if not path.exists():
        return {}
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_atomic(path, whole)
    try:
        return {line["key"]: line for line in map(_score_line, whole.splitlines())}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run stage=evaluate again") from error


def _score_line(text: str) -> dict[str, Any]:
    line = json.loads(text)
    if not isinstance(line, dict) or "key" not in line or not {"score", "error"} & line.keys():
        raise ValueError(f"no score: {text.strip()!r}")
    return line


def environment_for(device: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Environment of a process that sees the GPU of ``device`` alone, as its first, if it names one."""
    index = device.partition(":")[2]
    if not index:
        return dict(environment)
    visible = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return {**environment, "CUDA_VISIBLE_DEVICES": visible[int(index)] if visible != [""] else index}


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1] if lines else ""

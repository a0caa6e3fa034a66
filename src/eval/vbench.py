"""VBench (Huang et al., CVPR 2024, arXiv 2311.17982): sixteen dimensions of a video, and a score of all of them.

VBench itself computes the dimensions, in an environment of its own (``make env-vbench``); here is what becomes of its
scores. That of a dimension is the mean over its videos. VBench takes some over all frames, which is the same where all
videos are of one length, as in a run.

On VBench's official prompts each video is scored on the dimensions of its prompt. Own prompts are scored on the ten
that VBench allows for them; the other six need facts that only the official list has.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from eval.metric import MetricUnavailable, RunMetric, RunScore
from eval.vbench_score import DIMENSIONS, QUALITY, SEMANTIC, WITH_DETECTRON2, score_of, total_of
from eval.vbench_weights import RAFT, WEIGHTS, fingerprint, is_complete
from eval.weights import WeightFile
from eval.worker import Task, Worker
from meancache.artifacts import content_hash
from meancache.run_folder import Record, RunFolder

ROOT = Path(__file__).parents[2]
DEFAULT_PYTHON = ROOT / ".venv-vbench" / "bin" / "python"
SCRIPT = Path(__file__).parent / "workers" / "vbench_worker.py"
NAME_LENGTH = 180  # bytes of a prompt in a file name; the official ones have at most 210


@dataclass(frozen=True)
class Installation:
    """VBench as an interpreter finds it.

    Attributes:
        version: of the package.
        prompts: its official list: prompts, each with the dimensions it is scored on.
        detectron2: whether that is there, too.
    """

    python: Path
    version: str
    prompts: Mapping[str, tuple[str, ...]] = field(hash=False)
    detectron2: bool

    @property
    def lacking(self) -> dict[str, str]:
        """Why dimensions cannot be computed here, for those that cannot."""
        what = {name: [] if is_complete(name) else ["weights"] for name in DIMENSIONS}
        if not self.detectron2:
            what |= {name: ["detectron2", *what[name]] for name in WITH_DETECTRON2}
        return {name: f"without {' and '.join(missing)}" for name, missing in what.items() if missing}


@lru_cache
def find_installation(python: str) -> Installation:
    """VBench in the environment of an interpreter; "" for the one that ``make env-vbench`` makes.

    Raises:
        MetricUnavailable: there is no VBench.
    """
    interpreter = Path(python).expanduser() if python else DEFAULT_PYTHON
    code = (
        "import json, importlib.metadata as m, importlib.util as u; print(json.dumps([m.version('vbench'), "
        "u.find_spec('vbench').submodule_search_locations[0], u.find_spec('detectron2') is not None]))"
    )
    try:
        done = subprocess.run([str(interpreter), "-I", "-c", code], capture_output=True, text=True, check=True)
        version, package, detectron2 = json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError) as error:
        where = f"metrics.vbench.python={python} has none" if python else "`make env-vbench` makes it"
        raise MetricUnavailable(f"VBench needs an environment of its own: {where}") from error
    official = json.loads((Path(package) / "VBench_full_info.json").read_text())
    prompts: dict[str, tuple[str, ...]] = {}
    for entry in official:  # two prompts are there twice, with other dimensions
        prompts[entry["prompt_en"]] = (*prompts.get(entry["prompt_en"], ()), *entry["dimension"])
    return Installation(interpreter, version, prompts, detectron2)


@dataclass(frozen=True)
class VBench(RunMetric):
    """VBench's score of videos; ``python`` is the interpreter that has it, else that of ``make env-vbench``."""

    name = "vbench"
    label = "VBench (%)"
    digits = 2
    media = ("video",)
    python: str = ""

    def weights(self) -> tuple[WeightFile, ...]:
        """All that its dimensions read, but for what lies in an archive and must be fetched by hand."""
        return tuple(dict.fromkeys(file for files in WEIGHTS.values() for file in files if file != RAFT))

    def missing(self) -> str:
        """Why not even a part can be computed here; what lacks weights is told with the score."""
        try:
            find_installation(self.python)
        except MetricUnavailable as error:
            return str(error)
        return ""

    def provenance(self) -> str:
        if self.missing():
            return "vbench, which is not installed"
        vbench = find_installation(self.python)
        here = {name: fingerprint(name) for name in DIMENSIONS if name not in vbench.lacking}
        return f"vbench {vbench.version}, H.264 videos, {len(here)} of 16 dimensions, weights {content_hash(here)}"

    def score_run(self, run: RunFolder, device: str) -> RunScore:
        """Every dimension that can be computed here; the total where all are.

        Raises:
            MetricUnavailable: there is no VBench.
            ValueError: the worker died.
        """
        vbench, records = find_installation(self.python), run.records()
        official = all(record.prompt in vbench.prompts for record in records)
        asked = {record.sample: _dimensions_of(record, vbench, official) for record in records}
        wanted = [name for name in DIMENSIONS if any(name in names for names in asked.values())]
        lacking = {name: what for name, what in vbench.lacking.items() if name in wanted}
        tasks = [
            _task(run, record, number, dimension, vbench)
            for record, number in _numbered(records)
            for dimension in asked[record.sample]
            if dimension not in lacking
        ]
        lines = Worker("vbench", vbench.python, SCRIPT).scores(tasks, run.path / "vbench", device)
        per_sample: dict[str, dict[str, float]] = {name: {} for name in wanted if name not in lacking}
        for task in tasks:
            line = lines[task.key]
            if "error" in line:
                lacking.setdefault(task.part, f"failed at {task.sample} with {line['error']}")
            elif line["score"] is not None:
                per_sample[task.part][task.sample] = line["score"]
        return _combine(per_sample, lacking, official)


def _dimensions_of(record: Record, vbench: Installation, official: bool) -> list[str]:
    if not official:
        return [name for name, dimension in DIMENSIONS.items() if dimension.own_prompts]
    named = record.category.split("+")  # of a prompt that is there twice, those of its place in the list
    known = vbench.prompts[record.prompt]
    return [name for name in known if name in named] or list(known)


def _numbered(records: Sequence[Record]) -> Iterable[tuple[Record, int]]:
    """Each record, and which of its prompt's seeds it has."""
    seeds: dict[int, int] = {}
    for record in records:
        number = seeds[record.prompt_index] = seeds.get(record.prompt_index, -1) + 1
        yield record, number


def _task(run: RunFolder, record: Record, number: int, dimension: str, vbench: Installation) -> Task:
    limit = None if record.prompt in vbench.prompts else NAME_LENGTH
    name = record.prompt.replace("/", " ").encode()[:limit]
    facts = {
        "prompt": record.prompt,
        "name": f"{name.decode(errors='ignore')}-{number}.mp4",
        "sha256": record.sha256,
        "version": vbench.version,
        "weights": fingerprint(dimension),
    }
    return Task(record.sample, dimension, facts, {"file": str(run.to_look_at(record).resolve())})


def _combine(per_sample: dict[str, dict[str, float]], lacking: dict[str, str], official: bool) -> RunScore:
    """Scores of the dimensions, and of their groups where none is lacking."""
    parts = {name: fmean(scores.values()) for name, scores in per_sample.items() if scores and name not in lacking}
    percent: dict[str, float] = {}
    for label, dimensions in (("quality", QUALITY), ("semantic", SEMANTIC)):
        if dimensions.keys() <= parts.keys():
            percent[label] = 100 * score_of(parts, dimensions)
    value = total_of(percent["quality"], percent["semantic"]) if len(percent) == 2 else None
    notes = [] if value is not None else [_why_no_total(parts, lacking, official)]
    return RunScore(value, percent | parts, per_sample, tuple(notes))


def _why_no_total(parts: Mapping[str, float], lacking: Mapping[str, str], official: bool) -> str:
    reasons: dict[str, list[str]] = {}
    for name in DIMENSIONS:
        if name in lacking:
            reasons.setdefault(lacking[name], []).append(name)
        elif name not in parts:
            allowed = official or DIMENSIONS[name].own_prompts
            reasons.setdefault("without a video" if allowed else "for official prompts alone", []).append(name)
    told = "; ".join(f"{reason}: {', '.join(names)}" for reason, names in reasons.items())
    return f"VBench has no total, which needs all {len(DIMENSIONS)} dimensions; {told}"

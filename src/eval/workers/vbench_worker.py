"""Scores videos on VBench's dimensions, in VBench's own environment; eval/worker.py says what goes in and out.

    sleep 1d | .venv-vbench/bin/python -I src/eval/workers/vbench_worker.py manifest.jsonl cuda

VBench hands its results over when it has seen all videos of a dimension, and one video that breaks it costs all of
them. Every dimension asks tqdm for its next video, so we stand in for tqdm: what it found for the last one is handed
on at once, and after an error the dimension goes on with the next. Nothing else of VBench is touched.
"""

import importlib
import json
import math
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Report = Callable[..., None]  # of a task, with its score or error
LEAVES_OUT = "color"  # the dimension without a score for a video in which it does not see the object
SCALE = {"imaging_quality": 100}  # a video's score there is of 100; that of the dimension, like all others, is of 1


def main(manifest: Path, device: str) -> None:
    """Print a line for every task of the manifest."""
    threading.Thread(target=leave_with_the_caller, daemon=True).start()
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what VBench prints is no score

    def report(task: dict[str, Any], **outcome: Any) -> None:
        named = {name: task[name] for name in ("key", "sample", "part")}
        print(json.dumps(named | outcome), file=lines, flush=True)

    tasks = [json.loads(line) for line in manifest.read_text().splitlines()]
    folder = manifest.with_name("videos")
    shutil.rmtree(folder, ignore_errors=True)  # of a worker that was killed
    folder.mkdir()
    for dimension in dict.fromkeys(task["part"] for task in tasks):
        some = [task for task in tasks if task["part"] == dimension]
        score_dimension(dimension, some, folder, device, report)
    shutil.rmtree(folder)


def leave_with_the_caller() -> None:
    """End this process when its caller does, however that ended: its standard input closes then."""
    sys.stdin.read()
    os._exit(1)


def score_dimension(dimension: str, tasks: list[dict[str, Any]], folder: Path, device: str, report: Report) -> None:
    """Report a score or an error for every task."""
    while tasks:
        loop = Loop(tasks, report, SCALE.get(dimension, 1))
        try:
            compute(dimension, write_videos(dimension, tasks, folder), device, loop)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            if not loop.started:  # it is the dimension that broke
                for task in tasks:
                    report(task, error=told)
                return
            if loop.ended < loop.started:
                report(tasks[loop.ended], error=told)
        tasks = tasks[loop.started :]


def compute(dimension: str, videos: Path, device: str, loop: "Loop") -> None:
    """VBench's own computation of a dimension."""
    import torch
    from vbench.utils import init_submodules

    module = importlib.import_module(f"vbench.{dimension}")
    vars(module)["tqdm"] = loop
    submodules = init_submodules([dimension], local=True)[dimension]  # local: all weights from its own folder
    if dimension == "subject_consistency":  # but DINO's code looks for them in torch hub's
        checkpoints = Path(tempfile.mkdtemp(dir=videos.parent)) / "checkpoints"
        checkpoints.mkdir()
        (checkpoints / Path(submodules["path"]).name).symlink_to(submodules["path"])
        torch.hub.set_dir(str(checkpoints.parent))
    getattr(module, f"compute_{dimension}")(str(videos), torch.device(device), submodules)


class Loop:
    """Stands in for tqdm in a dimension's loop over videos, of which each is one task."""

    def __init__(self, tasks: list[dict[str, Any]], report: Report, scale: float) -> None:
        self.tasks, self.report, self.scale = tasks, report, scale
        self.started = self.ended = 0

    def __call__(self, videos: Iterable[Any], **_: Any) -> Iterator[Any]:
        told = 0
        for task, video in zip(self.tasks, videos, strict=True):
            self.started += 1
            yield video
            results = sys._getframe(1).f_locals["video_results"]  # of the function whose loop asks for the next
            self.ended += 1
            self.tell(task, results[told:])
            told = len(results)

    def tell(self, task: dict[str, Any], results: list[dict[str, Any]]) -> None:
        """Report what was found for one video."""
        score = float(results[0]["video_results"]) / self.scale if results else None
        if score is None and task["part"] != LEAVES_OUT:
            self.report(task, error="VBench left it out: it cannot read the video")
        elif score is not None and math.isnan(score):
            self.report(task, error="VBench gave nan")
        else:
            self.report(task, score=score)


def write_videos(dimension: str, tasks: list[dict[str, Any]], folder: Path) -> Path:
    """VBench's list of videos, under their official names: it reads the action of a video out of its name."""
    import vbench

    official = json.loads((Path(vbench.__file__).parent / "VBench_full_info.json").read_text())
    facts = {entry["prompt_en"]: entry for entry in official if dimension in entry["dimension"]}
    entries = []
    for number, task in enumerate(tasks):
        link = Path(tempfile.mkdtemp(prefix=f"{number}-", dir=folder)) / task["name"]
        link.symlink_to(task["file"])
        known = {"auxiliary_info": facts[task["prompt"]].get("auxiliary_info", {})} if task["prompt"] in facts else {}
        entries.append({"prompt_en": task["prompt"], "dimension": [dimension], "video_list": [str(link)], **known})
    path = folder / f"{dimension}.json"
    path.write_text(json.dumps(entries))
    return path


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # as torch was when VBench's files were written
    main(Path(sys.argv[1]), sys.argv[2])

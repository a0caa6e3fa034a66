"""`python run.py` as a user types it: mistakes end in one line and a non-zero exit."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "run.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["budgte=10"], "there is no setting 'budgte'; did you mean budget?"),
        (["budget=0"], "budget must be a whole number >= 1, got 0"),
        (
            ["model=flux"],
            "hf download black-forest-labs/FLUX.1-dev --revision 3de623fc3c33e44ffbe2bad470d0f45bccf2eb21 "
            "--exclude flux1-dev.safetensors --exclude ae.safetensors --local-dir weights/FLUX.1-dev",
        ),
        (
            ["model.path=missing/weights"],
            "the weights 'missing/weights' are neither a folder here nor in the hub cache",
        ),
    ],
)
def test_a_mistake_is_one_line_and_a_failure(arguments, message, tmp_path):
    done = run(f"output={tmp_path}", *arguments)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    done = run(f"output={tmp_path / 'file'}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'file'}")
    assert "output=<a folder you can write to>" in done.stderr


def test_the_other_jobs_of_a_sweep_go_on(tmp_path):
    """Job 0 is wrong, job 1 is right: it is done and tabled all the same, and the exit code tells of job 0."""
    small = ["model.num_steps=4", "prompts.limit=1", "timing.pairs=0", "metrics.names=[psnr]", f"output={tmp_path}"]
    done = run("-m", "method=fewer_steps", "num_steps=0,2", *small)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: job 0: method: num_steps must be a whole number >= 1, got 0"
    table = next((tmp_path / "sweeps").glob("*/table.md")).read_text()
    assert "Fewer steps: 2" in table


COUNTING = """
import collections, runpy, sys
opened = collections.Counter()
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        opened[arguments[0]] += 1
sys.addaudithook(hook)
sys.argv = ["run.py", *sys.argv[1:]]
runpy.run_path("run.py", run_name="__main__")
for kind, end in (("prompts", "scenes.jsonl"), ("calibration", "calibration.jsonl"), ("weights", ".safetensors")):
    counts = [count for path, count in opened.items() if path.endswith(end) and "/assets/" in "/" + path]
    print("opened", kind, max(counts, default=0))
heavy = {"diffusers", "transformers", "torchmetrics", "torchvision", "matplotlib"}
print("imported", *sorted(heavy & set(sys.modules)))
"""


def test_a_job_with_nothing_to_do_reads_little(tmp_path):
    small = [
        "model.num_steps=4",
        "budget=2",
        "spans=[2]",
        "prompts.limit=1",
        "calibrate.limit=1",
        "calibrate.seeds=[0]",
    ]
    small += ["calibrate.max_span=2", "timing={pairs: 1, untimed: 0}", f"output={tmp_path}"]
    assert run(*small).returncode == 0
    command = [sys.executable, "-c", COUNTING, *small]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines() if line.startswith("opened"))
    assert told == {"opened prompts": "1", "opened calibration": "1", "opened weights": "1"}
    assert done.stdout.splitlines()[-1].split() == ["imported"]

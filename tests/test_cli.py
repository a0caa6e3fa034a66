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

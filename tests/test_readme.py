"""What the README shows works as shown."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import FlowMatchEulerDiscreteScheduler

from experiments.compose import CONF, compose_config
from meancache.models import adapter_for
from meancache.plan import Plan
from meancache.protocols import VelocityMethod
from meancache.schedule import Schedule
from meancache.session import attach

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_example_method_is_a_method(random_flux):
    source = next(block for block in blocks("python") if "class EveryOther" in block)
    namespace: dict = {}
    exec(compile(source, "README.md", "exec"), namespace)
    method = namespace["EveryOther"](period=3)
    assert isinstance(method, VelocityMethod)
    with attach(random_flux.pipe, adapter_for(random_flux.pipe), method) as session:
        held = random_flux.run()
    assert session.run.nfe == 4
    assert not torch.equal(held, random_flux.run())


def test_the_pipeline_example_runs(tmp_path, monkeypatch):
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(CONF.parent / "assets/tiny_flux/scheduler")
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 50, 50), mu=1.15)  # the grid of 64 image tokens
    plan = Plan("tiny_flux", Schedule(scheduler.sigmas.tolist()), tuple(range(0, 50, 5)), (1,) * 10)
    (tmp_path / "plan.json").write_text(plan.to_json())
    (tmp_path / "assets").symlink_to(CONF.parent / "assets")
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    exec(compile(next(block for block in blocks("python") if "attach(" in block), "README.md", "exec"), namespace)
    assert namespace["image"].size == (64, 64)


def test_the_example_yaml_is_complete():
    content = yaml.safe_load(blocks("yaml")[0])
    assert set(content) == {"period", "label", "method"}


def test_every_command_composes():
    lines = "\n".join(blocks("")).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True)[2:] for line in lines if line.startswith("python run.py")]
    assert len(commands) >= 4
    for arguments in commands:
        overrides = [a.split(",")[0] if "[" not in a else a for a in arguments if "=" in a]
        compose_config(overrides)


def test_every_file_it_names_exists():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (CONF.parent / link).exists(), link


def told(row: dict[str, str], whole: float) -> tuple[str, ...]:
    """NFE, FLOPs cut, PSNR and ST-LPIPS of a row of a table.csv, as README shows them."""
    flops = row["denoiser_flops"]
    cut = "n/a" if flops == "n/a" else f"{whole / float(flops):.2f}x"
    return f"{float(row['nfe']):.3g}", cut, f"{float(row['psnr']):.2f}", f"{float(row['st_lpips']):.4f}"


def shown_after(heading: str) -> list[tuple[str, ...]]:
    """The results in the first table after a heading, but those marked with a star; one or two to a line."""
    section = README[README.index(heading) :]
    lines = section[section.index("FLOPs cut") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [tuple(c) for row in cells if not row[0].endswith(" *") for c in (row[1:5], row[5:]) if any(c)]


@pytest.mark.parametrize(
    ("heading", "folder", "least"),
    [
        ("## Results on the embedded models", "equal_nfe", 31),
        ("### With true guidance", "table1_qwen", 7),
        ("### Video", "table2", 11),
    ],
)
def test_the_results_are_those_of_the_committed_run(heading, folder, least):
    path = CONF.parent / "experiments" / "results" / folder / "table.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    known = {told(row, float(rows[0]["denoiser_flops"])) for row in rows[1:]}
    shown = shown_after(heading)
    assert len(shown) >= least
    assert set(shown) <= known

"""What the README shows works as shown."""

import re
import shlex
from pathlib import Path

import torch
import yaml

from experiments.compose import CONF, compose_config
from meancache.adapters import adapter_for
from meancache.protocols import VelocityMethod
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
    assert session.run.counters.nfe == 4
    assert not torch.equal(held, random_flux.run())


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

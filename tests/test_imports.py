"""The direction of imports: {run.py, embedded} -> experiments -> {baselines, peers, eval} -> meancache."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"run", "embedded", "experiments", "baselines", "peers", "eval", "meancache", "hydra_plugins"}
ABOVE = {"run", "embedded", "experiments"}  # what nothing in src may know
FORBIDDEN = {
    "src/meancache": ABOVE | {"baselines", "peers", "eval", "hydra"},
    "src/baselines": ABOVE | {"peers", "eval", "diffusers", "cache_dit", "hydra", "omegaconf"},
    "src/peers": ABOVE | {"baselines", "eval", "hydra", "omegaconf"},  # they know the libraries they wrap
    "src/eval": ABOVE | {"baselines", "peers", "diffusers", "hydra", "omegaconf"},
    "src/hydra_plugins": OURS - {"hydra_plugins"},
    "experiments": {"run", "embedded"},
    "embedded": {"run", "baselines", "peers"},
}
ONLY_IN = {
    "wandb": {"src/meancache/tracking.py"},
    "diffusers": {"src/meancache/pipelines.py", "src/peers/diffusers_cache.py", "src/peers/solvers.py"},
    "cache_dit": {"src/peers/cache_dit.py"},
}
PURE = {"artifacts", "planner", "plan", "velocity", "stability", "schedule", "trajectory", "method", "protocols"}


def imports(path: Path) -> set[str]:
    """Every module a file imports, at whatever depth."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    """The dotted name that a file is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "src" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_file_leads_back_to_itself():
    """Whatever the depth of an import: inside a function, or for types alone."""
    files = {module_of(path): path for folder in FORBIDDEN for path in sources(folder)}
    graph = {name: sorted((imports(path) & files.keys()) - {name}) for name, path in files.items()}
    assert len(files) > 100 and sum(map(len, graph.values())) > 300  # it sees the project
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_nothing_imports_upwards(folder):
    for path in sources(folder):
        top = {name.split(".")[0] for name in imports(path)}
        assert not top & FORBIDDEN[folder], f"{path} imports {top & FORBIDDEN[folder]}"


@pytest.mark.parametrize("package", ONLY_IN)
def test_some_packages_are_known_to_one_file(package):
    for path in sources("src"):
        if package in {name.split(".")[0] for name in imports(path)}:
            assert str(path.relative_to(ROOT)) in ONLY_IN[package]


def test_methods_and_planner_need_no_pipeline():
    for name in PURE:
        ours = {m.split(".")[1] for m in imports(ROOT / f"src/meancache/{name}.py") if m.startswith("meancache.")}
        assert ours <= PURE, f"{name} imports {ours - PURE}"


def test_omegaconf_is_known_to_config_alone_in_meancache():
    users = {path.stem for path in sources("src/meancache") if "omegaconf" in imports(path)}
    assert users == {"config"}

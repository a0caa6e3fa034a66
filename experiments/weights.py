"""Weights that scorers need beyond their packages: `python -m experiments.weights [download=clip_score,...]`.

Lists every file: what asks for it, size, licence, checksum, where it comes from, where to put it, whether it is there
and whole. ``download`` takes metrics, whose files for their default settings are then fetched, or names of files. Files
of the hub may also lie in its own cache: ``hf download`` puts them there, and goes on where it was cut off.
"""

from collections.abc import Sequence

from rich.console import Console

from eval.catalogue import CATALOGUE
from eval.metrics import METRICS
from eval.weights import WHERE, WeightFile, fetch_missing
from experiments.errors import run_program


def describe(file: WeightFile) -> str:
    """What is known about a file, in a few lines."""
    path, problem = file.find(), file.what_is_wrong()
    state = f"there: {path}" if not problem else "not there" if path is None else f"DAMAGED: {path}"
    checksum = file.sha256 if len(file.sha256) == 64 else f"begins {file.sha256}" if file.sha256 else "none published"
    rows = {
        "for": file.use,
        "size, licence": f"{file.size}, {file.licence}",
        "SHA-256": checksum,
        "from": file.address,
        "or": f"hf download {file.on_hub[0]} {file.on_hub[2]} --revision {file.on_hub[1]}" if file.on_hub else "",
        "put it at": str(file.target),
        "here": state,
    }
    return "\n".join([f"  {file.name}", *(f"    {what:14}{text}" for what, text in rows.items() if text)])


def find_files(names: Sequence[str]) -> list[WeightFile]:
    """Files of these metrics with their default settings, or of these names.

    Raises:
        ValueError: there is no such metric or file.
    """
    files = {name: METRICS[name].weights() for name in CATALOGUE}
    files |= {file.name: (file,) for known in CATALOGUE.values() for file in known}
    if unknown := [name for name in names if name not in files]:
        raise ValueError(f"download={','.join(unknown)}: no metric or file of this name; there are {', '.join(files)}")
    return [file for name in names for file in files[name]]


def main(arguments: Sequence[str]) -> None:
    options = dict(argument.partition("=")[::2] for argument in arguments)
    if unknown := options.keys() - {"download"}:
        raise ValueError(f"there is no setting {', '.join(sorted(unknown))}; there is download")
    if "download" in options:
        fetch_missing(find_files(options["download"].split(",")))
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for name, files in CATALOGUE.items():
        missing = METRICS[name].missing()
        console.print(f"{name}: {'can be computed' if not missing else missing.removesuffix(WHERE)}")
        console.print("\n".join(map(describe, files)))


if __name__ == "__main__":
    run_program(main)

"""Writing pictures: each appears whole or not at all."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from matplotlib.figure import Figure

from meancache.artifacts import write_atomic


def write_figure(out: Path, save: Callable[[BinaryIO], object]) -> None:
    """Write what ``save`` puts into a file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    save(buffer)
    write_atomic(out, buffer.getvalue())


def write_plot(out: Path, figure: Figure) -> None:
    write_figure(out, lambda file: figure.savefig(file, format="png", dpi=150))

"""Write docs/pipelines.md: ``python -m tests.zoo.table``."""

from collections import Counter
from pathlib import Path

from tests.zoo import families
from tests.zoo.check import Found, Zoo, check, refuse
from tests.zoo.entries import Entry

PATH = Path(__file__).parents[2] / "docs" / "pipelines.md"

HEAD = """\
# Which of diffusers' flow pipelines can be accelerated

Written by `python -m tests.zoo.table` from tiny random pipelines (`tests/zoo`); `tests/zoo/test_zoo.py` checks each.

**works**: with every step computed (method `full`, and MeanCache with all steps as nodes, each rule) the latents are
those of the bare pipeline bit for bit; with every second step skipped the denoiser is called as often as planned, two
calls in one block give the same latents, and after the block the pipeline is as before. *Deviation* is the largest
difference from an independent replay that replaces the velocity outside this project while the denoiser computes at
every step, relative to the largest latent: rules `hold`, `release` and `paper`.

**refused**: an error that names the reason, before the first denoiser call unless the row says otherwise.
"""


def row(entry: Entry) -> list[str]:
    """The cells of one entry.

    Raises:
        AssertionError: it does not do what it should.
    """
    zoo = Zoo(entry)
    with zoo.counting():
        if entry.refused:
            return [entry.name, "refused", "", "", "", _reason(zoo)]
        found = check(zoo)
    deviations = " / ".join(f"{found.deviations[rule]:.1g}" for rule in ("hold", "release", "paper"))
    return [entry.name, "works", _calls(found), _steps(found, entry), deviations, entry.note]


def _calls(found: Found) -> str:
    """Denoiser calls a step."""
    return " or ".join(str(number) for number in sorted({number for calls in found.calls for number in calls}))


def _steps(found: Found, entry: Entry) -> str:
    """Steps of a run, of how many where it starts inside the grid, and how many runs a call of the pipeline has."""
    runs, steps = len(found.calls), len(found.calls[0])
    part = f"{steps}" if steps == entry.num_steps else f"{steps} of {entry.num_steps}"
    return part if runs == 1 else f"{runs} x {part}"


def _reason(zoo: Zoo) -> str:
    try:
        refuse(zoo)
    except (ValueError, RuntimeError) as error:
        late = f" (after {zoo.entry.calls_before} denoiser calls)" if zoo.entry.calls_before else ""
        return " ".join(str(error).split()) + late
    raise AssertionError(f"{zoo.entry.name} was not refused")


def table(entries: list[Entry]) -> str:
    """All rows, grouped by family, and a count of them."""
    classes = {entry.name.split(",")[0] for entry in entries if entry.family != "schedulers"}
    results = Counter("refused" if entry.refused else "works" for entry in entries)
    lines = [
        HEAD,
        f"{len(classes)} classes in {len(entries)} rows: {results['works']} work, {results['refused']} are refused.\n",
    ]
    lines.append("| pipeline | result | calls a step | steps | deviation hold / release / paper | note or reason |")
    lines.append("|---|---|---|---|---|---|")
    for family in dict.fromkeys(entry.family for entry in entries):
        lines.append(f"| **{family}** | | | | | |")
        lines += [f"| {' | '.join(row(entry))} |" for entry in entries if entry.family == family]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(table(families.entries()))

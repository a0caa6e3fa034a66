"""Which steps a run computed, as a strip of cells."""

from dataclasses import dataclass
from statistics import fmean

from meancache.plan import Plan
from meancache.run_folder import RunFolder


@dataclass(frozen=True)
class Timeline:
    """One run.

    Attributes:
        label: what the run is called.
        shares: of each solver step, how much of it was computed: 0 to 1, the mean over all samples.
        spans: of each step, the span K of the edge that leaves it where the run followed a plan, else None.
    """

    label: str
    shares: tuple[float, ...]
    spans: tuple[int | None, ...]

    @property
    def nfe(self) -> float:
        return sum(self.shares)

    @property
    def words(self) -> str:
        """For who cannot see it."""
        full = [str(step) for step, share in enumerate(self.shares) if share == 1]
        partly = [f"{step} ({share:.0%})" for step, share in enumerate(self.shares) if 0 < share < 1]
        some = f"; in part {', '.join(partly)}" if partly else ""
        return f"{self.label} computes {self.nfe:.4g} of {len(self.shares)} steps: {', '.join(full)}{some}"

    def title(self, step: int) -> str:
        """What there is to know of a step."""
        share, span = self.shares[step], self.spans[step]
        if share == 0:
            return f"step {step}: skipped"
        facts = ["computed" if share == 1 else f"computed {share:.0%}", "" if span is None else f"K = {span}"]
        return f"step {step}: {', '.join(filter(None, facts))}"


def timeline_of(run: RunFolder, label: str) -> Timeline | None:
    """The timeline of a run, or None where nobody wrote down which steps it computed: runs of older versions."""
    records, path = run.records(), run.path / "plan.json"
    plan = Plan.load(path) if path.is_file() else None
    steps = [record.steps for record in records]
    if None not in steps:
        shares = tuple(round(fmean(step), 3) for step in zip(*steps, strict=True))
    elif plan is not None:
        shares = tuple(float(plan.computes(index)) for index in range(plan.num_steps))
    else:
        return None
    spans = [None] * len(shares) if plan is None else [max(plan.span(index), 1) for index in range(len(shares))]
    return Timeline(label, shares, tuple(spans))

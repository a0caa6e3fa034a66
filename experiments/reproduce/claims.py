"""Which of the paper's claims hold on which model, in numbers, and where its own numbers do not fit together."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from eval.cells import markdown_table
from eval.metrics import METRICS
from eval.row import Row
from eval.statistics import FEWEST, Estimate, advantage
from experiments.compose import CONF
from experiments.reproduce.sweeps import PAPER, Sweep

TABLES = CONF.parent / "experiments" / "tables"
HOLDS, NOISE, FAILS = "holds", "within the noise", "does not hold"
FAR = 0.9  # a latency of fewer steps than this share of those that the FLOPs say cannot be


def claims_table(sweeps: Sequence[Sweep]) -> str:
    """A Markdown table of the claims about experiments that were run: verdict, and the smallest gap of each metric.

    The paper's rows are not of equal cost, and less so where a threshold has another effect: computed steps say so.
    """
    steps = "computed steps against the others'"
    lines = [["claim", "model", "verdict", "least advantage over any of the others [95 % interval]", steps, "prompts"]]
    for claim in PAPER["claims"]:
        for sweep in sweeps:
            if sweep.experiment in claim["experiment"]:
                gaps = smallest_gaps(claim, sweep)
                told = "; ".join(_told(name, gap) for name, gap in gaps.items())
                prompts = str(min((gap.num_prompts for gap in gaps.values()), default=0))
                lines.append([claim["says"], sweep.model, verdict(gaps), told, _steps(claim, sweep), prompts])
    return markdown_table(lines)


def smallest_gaps(claim: Mapping[str, Any], sweep: Sweep) -> dict[str, Estimate]:
    """By metric, the advantage of the better row over that one of the others that speaks most against the claim.

    Positive is better, whichever way the metric counts; on the same prompts and seeds. One that is better for sure
    speaks more than one that cannot be told apart, and that more than one that is worse for sure.
    """
    better = sweep.rows(claim["better"])[0]
    others = [sweep.rows(words)[0] for words in claim["than"]]
    found = {}
    for name in claim["metrics"]:
        gaps = [gap for other in others if (gap := _advantage(name, better, other)) is not None]
        if len(gaps) == len(others):
            found[name] = weakest(gaps)
    return found


def weakest(gaps: Sequence[Estimate]) -> Estimate:
    """Of the advantages over several rows, the one that decides whether there is one over all of them."""
    return min(gaps, key=lambda gap: (gap.excludes_zero * (1 if gap.mean > 0 else -1), gap.mean))


def _steps(claim: Mapping[str, Any], sweep: Sweep) -> str:
    own, *others = (sweep.rows(words)[0].nfe for words in (claim["better"], *claim["than"]))
    return f"{own:.3g} against {', '.join(f'{nfe:.3g}' for nfe in others)}"


def verdict(gaps: Mapping[str, Estimate]) -> str:
    """Whether a claim holds: in all metrics, beyond the noise."""
    if not gaps:
        return "not measured"
    if any(gap.num_prompts < FEWEST for gap in gaps.values()):
        return f"fewer than {FEWEST} prompts: not to be said"
    kept = sum(gap.is_gain for gap in gaps.values())
    if kept == len(gaps):
        return HOLDS
    if any(gap.mean < 0 and gap.excludes_zero for gap in gaps.values()):
        return f"{FAILS}: in {kept} of {len(gaps)} metrics" if kept else FAILS
    return f"{NOISE}: holds in {kept} of {len(gaps)} metrics" if kept else NOISE


def contradictions() -> str:
    """The paper against itself: what it says twice, and rows that are faster than their FLOPs allow."""
    lines = [f"- {text}" for text in PAPER["contradictions"]]
    for name in ("table1_flux", "table1_qwen"):
        content = yaml.safe_load((TABLES / f"{name}.yaml").read_text())
        rows = {row["run"]: row for row in content["rows"]}
        for run, by_flops, by_seconds in implied_steps(rows):
            if by_seconds < FAR * by_flops:
                what = f"its FLOPs are those of {by_flops:.1f} computed steps, its latency that of {by_seconds:.1f}"
                lines.append(f"- Table 1, {content['model']}, `{run}`: {what}.")
    return "\n".join(lines)


def implied_steps(rows: Mapping[str, Mapping[str, float]]) -> list[tuple[str, float, float]]:
    """Computed steps that a row's FLOPs and its latency imply, both linear between 50 plain steps and 15."""
    slow, fast = rows["method=full"], rows["method=fewer_steps num_steps=15"]
    found = []
    for run, row in rows.items():
        steps = [
            15 + (row[key] - fast[key]) / (slow[key] - fast[key]) * (50 - 15) for key in ("flops", "total_seconds")
        ]
        found.append((run, steps[0], steps[1]))
    return found


def comparison_with_paper(rows: Sequence[Row]) -> str:
    """The paper's values, ours and the difference, where the model is the paper's; "" where it is not."""
    lines = [["row", "column", "paper", "ours", "ours - paper"]]
    for row in rows:
        for name, value in row.paper.items():
            ours = getattr(row, name, None) if name not in METRICS else row.metrics.get(name)
            if ours is not None:
                lines.append([row.label, name, f"{value:g}", f"{ours:.4g}", f"{ours - value:+.3g}"])
    return markdown_table(lines) if len(lines) > 1 else ""


def speedups(folder: Path) -> str:
    """Speed-ups of whole runs that the bench measured at full size, beside their limit; "" where there are none."""
    lines = [["model", "row", "speed-up of the loop", "limit, steps / NFE", "machine"]]
    for file in sorted(folder.glob("*.jsonl")):
        pairs = [note for note in map(json.loads, file.read_text().splitlines()) if note["kind"] == "pair"]
        for row in dict.fromkeys(note["row"] for note in pairs if not note["compiled"] and "meancache" in note["row"]):
            own = [note for note in pairs if note["row"] == row and not note["compiled"]]
            ratio, limit = (median(note[key] for note in own) for key in ("speedup", "limit"))
            device = own[0]["machine"]["device"]
            lines.append([own[0]["model"], row, f"{ratio:.2f}x (n={len(own)})", f"{limit:.2f}x", device])
    return markdown_table(lines) if len(lines) > 1 else ""


def _advantage(name: str, row: Row, other: Row) -> Estimate | None:
    if name not in row.samples or name not in other.samples:
        return None
    return advantage(row.samples[name], other.samples[name], higher_is_better=METRICS[name].higher_is_better)


def _told(name: str, gap: Estimate) -> str:
    metric = METRICS[name]
    return f"{metric.label} {gap:+.{metric.digits}f}"

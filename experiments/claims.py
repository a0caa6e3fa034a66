"""What README says of methods, against the committed results: `python -m experiments.claims` writes docs/claims.md.

A claim is a pair of rows and a metric; it holds if the paired difference over the same prompts and seeds is beyond the
noise.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from eval import statistics
from eval.cells import markdown_table
from eval.metrics import METRICS
from eval.statistics import Estimate, Scores
from experiments.compose import CONF
from experiments.errors import run_program
from meancache.artifacts import write_atomic

RESULTS = CONF.parent / "experiments" / "results"
PAGE = CONF.parent / "docs" / "claims.md"
CLAIMS: dict[str, list[dict[str, Any]]] = yaml.safe_load(Path(__file__).with_name("claims.yaml").read_text())


def advantage(claim: dict[str, Any], better: str, worse: str) -> Estimate:
    """By how much a row is better than another in the claim's metric; positive is better, whichever way it counts.

    Raises:
        ValueError: no such row, or too few scores in common.
    """
    folders = [claim["results"]] if isinstance(claim["results"], str) else claim["results"]
    first, second = (_scores(folders, label, claim["metric"]) for label in (better, worse))
    found = statistics.advantage(first, second, higher_is_better=METRICS[claim["metric"]].higher_is_better)
    if found is None:
        raise ValueError(f"{better} and {worse} have no {claim['metric']} in common in {folders}")
    return found


def page() -> str:
    """The text of docs/claims.md."""
    header = ["README says", "better", "than", "metric", "advantage [95 % interval]", "prompts", "verdict"]
    text = [
        "# What README claims, pair by pair",
        "Written by `python -m experiments.claims` from experiments/results; a test holds README to it. The advantage "
        "is the mean difference over the same prompts and seeds; a claim holds if its interval excludes zero.",
        markdown_table([header, *_lines(CLAIMS["holds"], "says")]),
        "## Withdrawn",
        "Once said, and within the noise.",
        markdown_table([["README said", *header[1:]], *_lines(CLAIMS["withdrawn"], "said")]),
        *(f"{claim['said']}: {claim['now']}" for claim in CLAIMS["withdrawn"]),
    ]
    return "\n\n".join(text) + "\n"


def _lines(claims: Sequence[dict[str, Any]], key: str) -> list[list[str]]:
    lines = []
    for claim in claims:
        metric = METRICS[claim["metric"]]
        for better, worse, *_ in claim["pairs"]:
            gap = advantage(claim, better, worse)
            told = f"{gap:+.{metric.digits}f}"
            holds = "holds" if gap.is_gain else "within the noise"
            lines.append([claim[key], better, worse, metric.label, told, str(gap.num_prompts), holds])
    return lines


def _scores(folders: Sequence[str], label: str, metric: str) -> Scores:
    for folder in folders:
        rows = json.loads((RESULTS / folder / "table.json").read_text())["rows"]
        runs = [row["run"] for row in rows if row["label"] == label]
        if runs:
            entry = json.loads((RESULTS / folder / "metrics" / f"{runs[0]}.json").read_text())["metrics"][metric]
            return {sample: float(score) for sample, score in entry["per_sample"].items()}
    raise ValueError(f"no row {label!r} in the results of {', '.join(folders)}")


def main(arguments: Sequence[str]) -> None:
    if arguments:
        raise ValueError("experiments.claims takes no arguments")
    write_atomic(PAGE, page())
    print(PAGE.relative_to(CONF.parent))


if __name__ == "__main__":
    run_program(main)

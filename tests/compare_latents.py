"""Every latent of every method on every model family, in two checkouts: `python -m tests.compare_latents <checkout>`.

A change that must not alter numbers shows with it that it does not, bit for bit. Each checkout runs its own code, tests
and matrix; a case that only one of them has is named. Exits with 1 if a case that both have differs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]
DUMP = """
import hashlib, json, sys
import torch
from tests.baselines.test_matrix import CASES, METHODS, STEPS
from tests.pipelines import attached, random_pipeline_of, two_expert_wan

torch.set_num_threads(1)

def digests(pipeline, method):
    scheduler, found = pipeline.pipe.scheduler, []
    take_step = scheduler.step
    def note(*args, **kwargs):
        result = take_step(*args, **kwargs)
        found.append(hashlib.sha256(result[0].contiguous().numpy().tobytes()).hexdigest()[:16])
        return result
    scheduler.step = note
    _, session = attached(pipeline, method, num_steps=STEPS)
    del scheduler.step
    return [f"nfe {session.run.nfe:g}", *found]

pipelines = {family: random_pipeline_of(family) for family, _ in CASES} | {"wan 2.2": two_expert_wan(0.8)}
cases = [*CASES, *(("wan 2.2", name) for family, name in CASES if family == "wan")]
json.dump({
    f"{family} {name} {setting}": digests(pipelines[family], getattr(METHODS[name], setting)(pipelines[family]))
    for family, name in cases for setting in ("sparse", "never_skips")
}, sys.stdout)
"""


def latents_of(checkout: Path) -> dict[str, list[str]]:
    """By case: its NFE, and a digest of the latents after every step."""
    environment = os.environ | {"PYTHONPATH": f"{checkout}:{checkout / 'src'}"}
    command = [sys.executable, "-c", DUMP]
    done = subprocess.run(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def main(other: Path) -> int:
    """Print what differs. Returns the exit status."""
    ours, theirs = latents_of(HERE), latents_of(other.resolve())
    both = [case for case in theirs if case in ours]
    differing = [case for case in both if ours[case] != theirs[case]]
    for case in differing:
        first = next(i for i, (a, b) in enumerate(zip(ours[case], theirs[case])) if a != b)
        print(f"differs: {case} {'in ' + theirs[case][0] if first == 0 else f'from step {first - 1} on'}")
    for case in sorted(ours.keys() ^ theirs.keys()):
        print(f"only {'here' if case in ours else 'there'}: {case}")
    print(f"{len(both) - len(differing)} of {len(both)} cases are equal, every latent bit for bit")
    return 1 if differing or not both else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""What methods cost on this machine, side by side with the reference.

python -m experiments.bench                                             the embedded model, on this CPU
python -m experiments.bench rows='method=toca;method=teacache threshold=0.25 force=26' repeats=5 pairs=5
python -m experiments.bench model=flux weights=random runtime=gpu seconds=380 compile=true publish=<folder>

First every row's computed and skipped steps are timed apart, then whole denoising runs beside the reference, A B A B,
one pair of each row after the other, so that a machine that slows down slows both sides. A speed-up is the ratio of
such a pair; it cannot exceed num_steps / NFE, and "of limit" is the share reached. Rows: experiments/bench/rows.yaml.

``weights=random`` builds the full-size architecture without a download: what a step costs does not depend on what the
weights are. What threshold methods decide does, so rows of theirs are forced to the paper's number of computed steps,
while they pay for their decisions. MeanCache's plans spread their steps evenly; only their number matters here.

A measurement that would not fit into ``seconds`` is skipped and named, and so is a row that fails, out of memory for
example; the others go on. On bare GPU machines, see docs/gpu.md.
"""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from experiments.bench.measure import Call, Subject, evenly, forced, spread
from experiments.bench.options import REFERENCE, Options, Row, parse, rows_of
from experiments.bench.report import Report
from experiments.compose import compose_config
from experiments.errors import run_program
from experiments.full_size.even_plan import evenly_planned
from experiments.full_size.random_weights import random_pipeline
from experiments.job import Job
from meancache.method import Full
from meancache.models import adapter_for
from meancache.pipelines import load_pipeline, prepare, start_runtime
from meancache.protocols import Method

PROMPT = {"prompt": "a red circle above a blue star"}
FOR_COMPILE = 0.4  # share of the seconds that is left for compiled blocks
KERNELS = 10


class Bench:
    """One pipeline and the rows that are measured on it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.began = time.perf_counter()
        self.reference = Row(REFERENCE, compose_config([*options.overrides, REFERENCE]))
        config = self.reference.config
        self.compiled = config.runtime.compile
        if self.compiled and options.compile:
            raise ValueError("compile=true measures both ways; leave runtime.compile out")
        self.rows, self.timed_steps = rows_of(options, config.model.name)
        self.num_steps = config.model.num_steps
        self.timed_steps = min(self.timed_steps, self.num_steps)
        start_runtime(config.runtime)
        self.report = Report(config, options.publish)
        self.subject = self._timed("built", self._build)
        self.schedule = self._timed("warm", self._warm_up).schedule

    def _timed(self, kind: str, make: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        made = make()
        self.report.note(kind, seconds=time.perf_counter() - began)
        return made

    def _build(self) -> Subject:
        config = self.reference.config
        if self.options.weights == "random":
            pipe, inputs = random_pipeline(config.model, config.runtime.device)
            pipe = prepare(pipe, config.model, config.runtime)
        else:
            pipe, inputs = load_pipeline(config.model, config.runtime), PROMPT
        return Subject(pipe, config.model.call | inputs, torch.device(config.runtime.device))

    def _warm_up(self) -> Call:
        return self.subject.call(Full(), self.num_steps, stop=4, decode=True)

    def run(self) -> None:
        """Measure every row, with compiled blocks too if they are asked for."""
        options = self.options
        self.note_kernels()
        share = 1 - FOR_COMPILE if options.compile else 1
        self.measure(self.rows["runs"], self.rows["steps"], self.began + share * options.seconds)
        if options.compile:
            self._timed("compiled", self._compile)
            self.measure(self.rows["compiled"], [], self.began + options.seconds)

    def note_kernels(self) -> None:
        """On a GPU, where a step's time goes; it tells which attention ran."""
        if self.subject.device.type != "cuda":
            return
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as found:
            self.subject.call(Full(), self.num_steps, stop=2)
        events = sorted(found.key_averages(), key=lambda event: -event.self_device_time_total)[:KERNELS]
        self.report.note("kernels", top=[(e.key[:90], e.self_device_time_total / 1e3, e.count) for e in events])

    def _compile(self) -> None:
        for name in adapter_for(self.subject.pipe).denoisers:
            getattr(self.subject.pipe, name).compile_repeated_blocks(fullgraph=True)
        self.compiled = True
        self._warm_up()

    def measure(self, runs: Sequence[Row], steps: Sequence[Row], deadline: float) -> None:
        """Single steps of all rows, then pairs of runs, one of each row after the other."""
        step_s = self.time_steps(self.reference, decode=True)["computed_ms"] / 1e3
        short, whole = 0.6 * self.timed_steps * step_s, 1.5 * self.num_steps * step_s  # about, of a skipping method

        def attempt(row: Row, what: str, needs: float, measure: Callable[[Row], object]) -> bool:
            note = {"row": row.words, "what": what, "compiled": self.compiled}
            if time.perf_counter() + needs > deadline:
                self.report.note("skipped", **note, needs_s=needs)
                return False
            try:
                measure(row)
            except Exception as error:
                self.report.note("failed", **note, error=" ".join(f"{type(error).__name__}: {error}".split())[:300])
                gc.collect()
                torch.cuda.empty_cache()
                return False
            return True

        done = [row for row in (*runs, *steps) if attempt(row, "steps", short, self.time_steps)]
        left = [row for row in runs if row in done]
        for _ in range(self.options.pairs):
            left = [row for row in left if attempt(row, "pair", whole, self.time_pair)]

    def time_steps(self, row: Row, *, decode: bool = False) -> dict[str, Any]:
        """Note, and return, what computed and skipped steps of a row take."""
        method, num_steps = self.method_of(row)
        stop = min(self.timed_steps, num_steps)
        calls = [
            self.subject.call(method, num_steps, stop=stop, decode=decode and number == 0)
            for number in range(self.options.repeats)
        ]
        found = spread([step for call in calls for step in call.steps])
        if decode:
            found |= {"text_s": calls[0].text_s, "vae_s": calls[0].vae_s}
        found["peak_mib"] = max(call.peak_mib for call in calls)
        self.report.note("steps", **self._about(row), **found)
        return found

    def time_pair(self, row: Row) -> None:
        """Note a whole run of the reference and, just after it, one of this row."""
        reference = self.subject.call(Full(), self.num_steps)
        call = self.subject.call(*self.method_of(row))
        self.report.note(
            "pair",
            **self._about(row),
            nfe=call.nfe,
            denoise_s=call.denoise_s,
            reference_s=reference.denoise_s,
            text_s=call.text_s,
            speedup=reference.denoise_s / call.denoise_s,
            limit=self.num_steps / call.nfe,
            peak_mib=call.peak_mib,
        )

    def _about(self, row: Row) -> dict[str, Any]:
        return {"row": row.words, "label": row.config.label, "force": row.force, "compiled": self.compiled}

    def method_of(self, row: Row) -> tuple[Method, int]:
        """The method of a row, and the solver steps of its runs."""
        config = row.config
        job = Job(config)
        method = evenly_planned(job, self.schedule)
        return method if row.force is None else forced(method, evenly(row.force, job.num_steps)), job.num_steps


def main(arguments: Sequence[str]) -> None:
    bench = Bench(parse(arguments))
    bench.run()
    bench.report.show()
    if failed := bench.report.of_kind("failed"):
        raise ValueError(f"{len(failed)} of the measurements failed, see above")


if __name__ == "__main__":
    run_program(main)

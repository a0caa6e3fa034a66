"""The habits of real pipelines, on a pipeline small enough to see through: each gives what the plain one gives."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from meancache.method import Full, MeanCache
from meancache.models.adapter import ModelAdapter
from meancache.plan import Plan
from meancache.schedule import Schedule
from meancache.session import Session, attach
from tests.toy import Toy, in_place, per_token, plain, upwards, with_audio

STEPS = 12
NODES, SPANS = (0, 1, 4, 6, 9), (1, 1, 3, 4, 5)
RULES = ("paper", "release", "hold")
ADAPTER = ModelAdapter("toy")


def grid() -> Schedule:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(STEPS)
    return Schedule(scheduler.sigmas.tolist())


def planned(rule: str) -> MeanCache:
    return MeanCache(Plan("toy", grid(), NODES, SPANS, rule))


def run(pipe: Toy, method: object, **options: int) -> tuple[Tensor, Session]:
    pipe.transformer.calls = 0
    with attach(pipe, ADAPTER, method) as session:  # type: ignore[arg-type]
        return pipe(STEPS, **options), session


def replayed(pipe: Toy, rule: str, computed: Iterable[int], begin: int = 0) -> Tensor:
    """The run written out, without a session: the rules as in the paper and in the authors' scripts."""
    pipe.scheduler.set_timesteps(STEPS)
    sigmas, timesteps = pipe.scheduler.sigmas.tolist()[begin:], pipe.scheduler.timesteps[begin:]
    nodes = [node - begin for node in computed]
    ends = [*nodes[1:], len(timesteps)]
    spans = {node: SPANS[max(k for k, planned in enumerate(NODES) if planned <= node + begin)] for node in nodes}
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    known: list[tuple[Tensor, Tensor]] = []  # velocity at the step, and the one moved with
    edge = 0
    for index, (sigma, after) in enumerate(pairwise(sigmas)):
        if index in nodes:
            edge = nodes.index(index)
            v = pipe.velocity(timesteps[index], z)
            moved = v
            span = min(spans[index], index)
            if rule == "paper" and span > 1 and ends[edge] > index + 1:
                first, t = index - span, sigmas[index]
                u = sum((sigmas[k + 1] - sigmas[k]) * known[k][1] for k in range(first, index)) / (t - sigmas[first])
                moved = v + (sigmas[ends[edge]] - t) * (u - known[first][0]) / (t - sigmas[first])
        else:
            v = moved = known[-1][1 if rule == "paper" else 0]
            span = min(spans[nodes[edge]], index)
            if rule == "release" and span > 1:
                first = index - span
                back = sigma - sigmas[first]
                u = sum((sigmas[k + 1] - sigmas[k]) * known[k][0] for k in range(first, index)) / back
                v = moved = v + (after - sigma) * (u - known[first][0]) / back
        known.append((v, moved))
        z = z + (after - sigma) * moved
    return z


@pytest.mark.parametrize("rule", RULES)
def test_the_plain_pipeline_runs_as_written_out(rule):
    latents, session = run(Toy(), planned(rule))
    torch.testing.assert_close(latents, replayed(Toy(), rule, NODES), rtol=1e-5, atol=1e-5)
    assert session.run.nfe == 5


@pytest.mark.parametrize("rule", RULES)
def test_latents_written_in_place(rule):
    assert torch.equal(run(Toy(in_place), planned(rule))[0], run(Toy(), planned(rule))[0])
    with attach(pipe := Toy(in_place), ADAPTER, Full(), keep=True) as session:
        final = pipe(STEPS)
    trajectory = session.run.full_trajectory()
    moves = trajectory.latents.diff(dim=0)
    expected = torch.tensor(trajectory.sigmas).diff()[:, None, None] * trajectory.velocities
    torch.testing.assert_close(moves, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(trajectory.latents[-1], final)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("loop", "settings"),
    [(per_token, {}), (upwards, {"invert_sigmas": True})],
    ids=["a time for each token", "sigmas that rise"],
)
def test_velocities_with_the_other_sign(rule, loop, settings):
    pipe = Toy(loop, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, **settings))
    torch.testing.assert_close(run(pipe, planned(rule))[0], run(Toy(), planned(rule))[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_a_copied_scheduler_steps_beside_the_first(rule):
    pipe = Toy(with_audio)
    latents, session = run(pipe, planned(rule))
    torch.testing.assert_close(latents, run(Toy(), planned(rule))[0])
    assert session.run.nfe == pipe.transformer.calls == 5
    copy = pipe.audio_scheduler  # it still carries what was on the first, which must do nothing now
    copy.set_timesteps(STEPS)
    sample = torch.ones(1, 8)
    moved = copy.step(sample, copy.timesteps[0], sample, return_dict=False)[0]
    torch.testing.assert_close(moved, sample + (copy.sigmas[1] - copy.sigmas[0]) * sample)
    assert len(session.runs) == 1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("announces", [True, False])
@pytest.mark.parametrize("begin", [1, 3, 7])
def test_a_run_that_begins_inside_the_grid(rule, begin, announces):
    """img2img: its first step is computed, then the plan's nodes from there on."""
    pipe = Toy(begin=begin, announces=announces)
    latents, session = run(pipe, planned(rule))
    computed = sorted({begin, *(node for node in NODES if node > begin)})
    torch.testing.assert_close(latents, replayed(Toy(), rule, computed, begin), rtol=1e-5, atol=1e-5)
    assert session.run.nfe == pipe.transformer.calls == len(computed)
    full, _ = run(Toy(begin=begin), Full())
    assert torch.equal(full, Toy(begin=begin)(STEPS))


def test_timesteps_set_again_at_the_end_begin_no_run():
    """Wan Animate sets them after each segment, also after the last."""

    class Segments(Toy):
        def __call__(self, num_steps: int = 12, rows: int = 2) -> Tensor:
            first = super().__call__(num_steps)
            second = super().__call__(num_steps)
            self.scheduler.set_timesteps(num_steps)
            return torch.cat([first, second])

    latents, session = run(Segments(), planned("release"))
    assert [r.nfe for r in session.runs] == [5, 5]
    assert torch.equal(latents, torch.cat([run(Toy(), planned("release"))[0]] * 2))


def guided(until: int, extra: tuple[int, ...] = ()) -> Callable[[Toy, Tensor, Tensor], Tensor]:
    """Guidance of two calls up to a step, one call after it, and three at some steps (skip-layer guidance)."""

    def loop(pipe: Toy, timestep: Tensor, latents: Tensor) -> Tensor:
        index = pipe.scheduler.step_index or 0
        calls = [pipe.velocity(timestep, latents) for _ in range(1 + (index < until) + (index in extra))]
        return pipe.scheduler.step(calls[0], timestep, latents, return_dict=False)[0]

    return loop


@pytest.mark.parametrize("rule", RULES)
def test_a_changing_number_of_calls_a_step(rule):
    pipe = Toy(guided(6, extra=(3, 4, 5)))
    latents, session = run(pipe, planned(rule))
    assert torch.equal(latents, run(Toy(), planned(rule))[0])
    assert session.run.nfe == 5
    assert pipe.transformer.calls == 2 + 2 + 3 + 1 + 1


def test_a_batch_that_changes_in_mid_run_is_computed_anew():
    """Z-Image with truncated guidance: both prompts in one call, then one alone."""

    def loop(pipe: Toy, timestep: Tensor, latents: Tensor) -> Tensor:
        doubled = latents.repeat(2, 1) if (pipe.scheduler.step_index or 0) < 7 else latents
        velocity = pipe.velocity(timestep, doubled)[: len(latents)]
        return pipe.scheduler.step(velocity, timestep, latents, return_dict=False)[0]

    latents, session = run(Toy(loop), planned("hold"))
    assert session.run.nfe == 6  # step 7 besides the plan's
    torch.testing.assert_close(latents, replayed(Toy(), "hold", (0, 1, 4, 6, 7, 9)))


def test_a_run_that_ends_early_is_an_error():
    """A stale grid: the rest of the steps is taken by nobody."""

    def stops(pipe: Toy, timestep: Tensor, latents: Tensor) -> Tensor:
        return latents if (pipe.scheduler.step_index or 0) >= 2 else plain(pipe, timestep, latents)

    with pytest.raises(RuntimeError, match="ended after 2 of 12 steps"):
        run(Toy(stops), Full())
    interrupted = Toy(stops)
    interrupted._interrupt = True
    assert run(interrupted, Full())[1].run.nfe == 2


def test_parts_at_other_times_than_the_rest_are_refused():
    """SkyReels' asynchronous frames: a copy of the scheduler that starts later."""

    def late(pipe: Toy, timestep: Tensor, latents: Tensor) -> Tensor:
        if pipe.scheduler.step_index is None:
            return plain(pipe, timestep, latents)
        pipe.velocity(timestep, latents)
        copy = deepcopy(pipe.scheduler)
        copy.set_begin_index(0)
        copy._step_index = None
        return copy.step(latents, copy.timesteps[0], latents, return_dict=False)[0]

    with pytest.raises(RuntimeError, match="at other times than the rest"):
        run(Toy(late), Full())

"""ToCa: which tokens, how many, what becomes of them, and what a step of it costs."""

from types import SimpleNamespace

import pytest
import torch

from baselines.toca import ToCa, value_scores
from meancache.protocols import Feature, FeatureMethod
from meancache.schedule import Schedule
from meancache.session import attach
from tests.pipelines import attached, random_pipeline_of

FIFTY = Schedule([1 - index / 50 for index in range(51)])
MLP = Feature("mlp", "transformer_blocks", 0, "ff")
FUSED = [
    Feature(kind, "single_transformer_blocks", 0, module)
    for kind, module in (("fused_mlp_in", "proj_mlp"), ("fused_attention", "attn"), ("fused_out", "proj_out"))
]
IMAGE, TEXT = 16, 5  # tokens of the tiny FLUX pipeline


class KeepAttention(FeatureMethod):
    """Attention of the last full step; everything else runs: ToCa's limit where all tokens are refreshed."""

    kinds = ("attention", "cross_attention", "fused_attention")

    def __init__(self, other: ToCa) -> None:
        self.other = other

    def full(self, step, branch):
        return self.other.full(step, branch)  # on the same steps

    def new_features(self, seed, branch):
        return SimpleNamespace(output=None)

    def keep(self, step, feature, state, output):
        setattr(state, feature.kind, output)

    def recall(self, step, feature, state, compute, x):
        return getattr(state, feature.kind)


@pytest.mark.parametrize(
    ("interval", "warmup", "full"),
    [
        (5, 1, list(range(0, 50, 5))),
        (5, 3, [0, 1, 2, 7, 12, 17, 22, 27, 32, 37, 42, 47]),
        (8, 3, [0, 1, 2, 10, 18, 26, 34, 42]),
    ],
)
def test_full_steps_are_those_of_the_released_code(interval, warmup, full):
    method = ToCa(interval=interval, warmup=warmup)
    assert [step.index for step in FIFTY.steps() if method.full(step, None)] == full


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score": "attention"}, "score must be one of random, v_norm, got 'attention'"),
        ({"ratio": -0.1}, "ratio must be a number >= 0, got -0.1"),
        ({"soft_weight": float("nan")}, "soft_weight must be a number >= 0, got nan"),
        ({"sign": -1}, "sign must be 1, or -1 with score=v_norm, got -1 with score=random"),
        ({"sign": 2, "score": "v_norm"}, "sign must be 1"),
        ({"warmup": 0}, "warmup must be a whole number >= 1, got 0"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ToCa(interval=5, **arguments)


def test_the_share_falls_with_depth_and_is_larger_in_fused_blocks():
    def share(kind, layer, ratio=0.1):
        return ToCa(interval=5, warmup=1, ratio=ratio).share(Feature(kind, "", layer, ""))

    assert share("mlp", 0) == pytest.approx(0.060)
    assert share("context_mlp", 19) == pytest.approx(0.0319, abs=1e-4)
    assert share("fused_mlp_in", 0) == pytest.approx(0.240)
    assert share("fused_mlp_in", 39) == pytest.approx(0.0089, abs=1e-4)
    assert share("mlp", 41) == 0
    assert share("fused_mlp_in", 0, ratio=9.0) == 1


def refresh(method, state, cached, times=1):
    """Steps 1, 2, ... of a module that doubles its input of ones; the cached output after each, as 0 and 2."""
    method.keep(FIFTY.step(0), MLP, state, cached)
    for index in range(1, times + 1):
        out = method.recall(FIFTY.step(index), MLP, state, lambda rows: 2 * rows, torch.ones(*cached.shape))
        assert out.shape == cached.shape
        yield out.clone()


def test_chosen_tokens_are_refreshed_and_stay_until_the_next_full_step():
    method = ToCa(interval=9, warmup=1, ratio=0.5)  # 0.5 x 1.5 x 0.4 = 30 % of 20 tokens
    state = method.new_features(3, None)
    before = torch.zeros(2, 20, 4)
    for out in refresh(method, state, torch.zeros(2, 20, 4), times=4):
        fresh = (out != 0).all(dim=-1)
        assert torch.equal(fresh, (out != 0).any(dim=-1))  # whole tokens
        assert out[before != 0].eq(2).all()
        assert fresh.sum(1).tolist()[0] >= 6
        before = out
    assert 6 < (before[0, :, 0] != 0).sum() < 20
    assert torch.equal(before[0], before[1])  # samples of a batch share random scores
    full = torch.full((2, 20, 4), 7.0)
    method.keep(FIFTY.step(9), MLP, state, full)
    assert torch.equal(state.outputs["mlp"], full)


def test_the_tokens_with_the_largest_values_are_chosen_in_each_sample():
    values = torch.tensor([[1.0, 9, 2, 3, 8], [7, 1, 1, 9, 2]]).unsqueeze(-1).repeat(1, 1, 4)
    value = Feature("value", "transformer_blocks", 0, "attn.to_v", num_heads=2)
    for sign, expected in ((1, [[1, 4], [0, 3]]), (-1, [[0, 2], [1, 2]])):
        method = ToCa(interval=5, warmup=1, ratio=0.7, score="v_norm", sign=sign)  # 42 % of 5 tokens
        state = method.new_features(0, None)
        method.keep(FIFTY.step(0), value, state, values)
        (out,) = refresh(method, state, torch.zeros(2, 5, 3))
        assert [row.nonzero().flatten().tolist() for row in out[:, :, 0]] == expected


def test_value_scores_are_means_over_heads_scaled_to_length_one():
    values = torch.tensor([[[3.0, 4, 0, 1], [0, 0, 0, 0]]])  # heads (3, 4) and (0, 1): norms 5 and 1
    assert value_scores(values, 2, 1).tolist() == [[1, 0]]
    assert value_scores(values, 2, -1)[0].tolist() == pytest.approx([-2 / 5**0.5, 1 / 5**0.5])


def test_with_a_soft_weight_every_token_gets_its_turn():
    """Values say the same two tokens each time; with age on top all ten are refreshed in five steps."""
    values = torch.arange(10.0).reshape(1, 10, 1)
    value = Feature("value", "transformer_blocks", 0, "attn.to_v")
    for soft_weight, refreshed in ((0.0, 2), (100.0, 10)):
        method = ToCa(interval=9, warmup=1, ratio=1 / 3, score="v_norm", soft_weight=soft_weight)  # 20 % of 10 tokens
        state = method.new_features(0, None)
        method.keep(FIFTY.step(0), value, state, values)
        *_, out = refresh(method, state, torch.zeros(1, 10, 3), times=5)
        assert (out[0, :, 0] != 0).sum() == refreshed
    method.keep(FIFTY.step(9), MLP, state, torch.zeros(1, 10, 3))
    assert not state.ages


def through_fused_block(single_writeback, tokens=10):
    """A ToCa step through a fused block: its cached output before and after, and what the output projection saw."""
    method = ToCa(interval=5, warmup=1, ratio=1.0, single_weight=0.2, single_writeback=single_writeback)  # 30 %
    state, seen = method.new_features(0, None), []
    attention, out = torch.arange(float(tokens)).reshape(1, tokens, 1), torch.full((1, tokens, 1), -1.0)
    for feature, output in zip(FUSED, (torch.zeros(1, tokens, 4), attention, out.clone())):
        method.keep(FIFTY.step(0), feature, state, output)

    def project(rows):
        seen.append(rows)
        return rows[:, :, :1]

    x = torch.full((1, tokens, 1), 5.0)
    hidden = method.recall(FIFTY.step(1), FUSED[0], state, lambda rows: rows.repeat(1, 1, 4), x)
    rows = method.recall(FIFTY.step(1), FUSED[1], state, None, x)
    after = method.recall(FIFTY.step(1), FUSED[2], state, project, torch.cat([rows, hidden], dim=2))
    return out, after, seen[0]


def test_chosen_tokens_of_a_fused_block_meet_the_cached_attention():
    before, after, seen = through_fused_block(single_writeback=True)
    assert seen.shape == (1, 3, 5)
    assert (seen[:, :, 1:] == 5).all()
    rows = seen[0, :, 0].long()  # attention was numbered by token
    assert after[0, rows, 0].tolist() == rows.tolist()
    assert (after != before).sum() <= 3 < before.shape[1]


def test_without_write_back_they_are_computed_and_thrown_away():
    before, after, seen = through_fused_block(single_writeback=False)
    assert seen.shape == (1, 3, 5)
    assert torch.equal(after, before)


def test_every_step_full_is_bit_identical(random_pipeline):
    assert torch.equal(attached(random_pipeline, ToCa(interval=1, warmup=1))[0], random_pipeline.run())


def test_with_all_tokens_only_attention_is_cached(random_pipeline):
    method = ToCa(interval=3, warmup=1, ratio=100.0)
    expected, _ = attached(random_pipeline, KeepAttention(method))
    torch.testing.assert_close(attached(random_pipeline, method)[0], expected, atol=1e-5, rtol=1e-4)


def test_with_no_tokens_everything_is_cached_and_nothing_computed(random_pipeline):
    latents, session = attached(random_pipeline, ToCa(interval=3, warmup=1, ratio=0.0))
    assert latents.isfinite().all()
    assert not any(unit.startswith("tokens") for work in session.run.ledger.works for unit in work)


@pytest.mark.parametrize("settings", [{}, {"soft_weight": 0.25}])
def test_runs_repeat_and_leave_the_global_generator_alone(random_pipeline, settings):
    method = ToCa(interval=3, warmup=2, ratio=0.5, **settings)
    first, session = attached(random_pipeline, method)
    assert session.run.nfe == 5
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with attach(random_pipeline.pipe, session.adapter, method):
        random_pipeline.run(7)
        assert torch.equal(random_pipeline.run(), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_blocks_choose_tokens_of_their_own():
    _, session = attached(random_pipeline_of("flux"), ToCa(interval=3, warmup=1, ratio=0.5), keep=True)
    seeds = [state.seed for state in session.run.states.values()]
    assert len(set(seeds)) == len(seeds) == 4


@pytest.mark.parametrize("score", ["random", "v_norm"])
def test_a_batch_of_two_is_two_runs(score):
    pipeline, method = random_pipeline_of("flux"), ToCa(interval=4, warmup=1, ratio=0.5, score=score)
    both, _ = attached(pipeline, method, 1, 2)
    for row, seed in enumerate((1, 2)):
        torch.testing.assert_close(both[row : row + 1], attached(pipeline, method, seed)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["flux", "hunyuan_video"])
def test_write_back_changes_the_picture_and_not_the_work(family):
    pipeline, settings = random_pipeline_of(family), {"interval": 3, "warmup": 1, "ratio": 0.5}
    kept, session = attached(pipeline, ToCa(**settings))
    thrown, other = attached(pipeline, ToCa(**settings, single_writeback=False))
    assert not torch.equal(kept, thrown)
    assert session.run.ledger.works == other.run.ledger.works


def test_the_work_of_a_run():
    """12 steps: 4 full, 8 of ToCa; R = 0.5 refreshes 30 % and 28.9 % in double blocks, all of them in fused ones."""
    _, session = attached(random_pipeline_of("flux"), ToCa(interval=3, warmup=1, ratio=0.5))
    (work,) = session.run.ledger.works
    assert work == {
        "embed_out": 12,
        "blocks:transformer_blocks": 4 * 2,
        "modulations:transformer_blocks": 8 * 2,
        "blocks:single_transformer_blocks": 4 * 2,
        "modulations:single_transformer_blocks": 8 * 2,
        "tokens:transformer_blocks.ff": 8 * (int(0.3 * IMAGE) + int(0.2925 * IMAGE)),
        "tokens:transformer_blocks.ff_context": 8 * (int(0.3 * TEXT) + int(0.2925 * TEXT)),
        "tokens:single_transformer_blocks.proj_mlp": 8 * 2 * (IMAGE + TEXT),
        "tokens:single_transformer_blocks.proj_out": 8 * 2 * (IMAGE + TEXT),
    }


@pytest.mark.parametrize("family", ["flux", "qwen_image", "hunyuan_video"])
def test_value_norms_serve_families_whose_values_have_a_name(family):
    method = ToCa(interval=3, warmup=1, ratio=0.5, score="v_norm")
    latents, session = attached(random_pipeline_of(family), method, keep=True)
    assert latents.isfinite().all()
    assert all(state.value_scores for state in session.run.states.values())


def test_value_norms_without_values_say_what_is_missing():
    with pytest.raises(ValueError, match='v_norm needs the values of blocks.*kind "value", or take score=random'):
        attached(random_pipeline_of("wan"), ToCa(interval=3, warmup=1, ratio=0.5, score="v_norm"))

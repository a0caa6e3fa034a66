"""Prompt suites and the noise of their samples."""

import pytest

from meancache.prompts import Prompt, Sample, load_prompts


def test_text_and_json_lines(tmp_path):
    (tmp_path / "a.txt").write_text("# a comment\nA red car.\n\n A dog. \n")
    assert load_prompts(tmp_path / "a.txt") == [Prompt(0, "A red car."), Prompt(1, "A dog.")]
    (tmp_path / "a.jsonl").write_text('{"prompt": "A red car.", "category": "colours", "more": 1}\n')
    assert load_prompts(tmp_path / "a.jsonl") == [Prompt(0, "A red car.", "colours")]


def test_a_limit_is_spread_over_the_suite_and_keeps_indices(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(f"prompt {i}" for i in range(10)))
    assert [prompt.index for prompt in load_prompts(tmp_path / "a.txt", 4)] == [0, 2, 5, 7]
    assert len(load_prompts(tmp_path / "a.txt", 99)) == 10


def test_bad_suites_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read the prompt suite"):
        load_prompts(tmp_path / "missing.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match="has no prompts"):
        load_prompts(tmp_path / "empty.txt")
    (tmp_path / "bad.jsonl").write_text('{"prompt": "fine"}\n{"text": "no"}\n')
    with pytest.raises(ValueError, match="prompt 1: not a JSON object with a field 'prompt'"):
        load_prompts(tmp_path / "bad.jsonl")
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match="limit must be >= 1"):
        load_prompts(tmp_path / "a.txt", 0)


def test_every_prompt_and_seed_has_its_own_noise():
    samples = [Sample(Prompt(i, text), seed) for i, text in enumerate("ab") for seed in (0, 1)]
    assert len({sample.noise_seed for sample in samples}) == 4
    assert Sample(Prompt(7, "a"), 0).noise_seed == samples[0].noise_seed
    assert samples[0].name == "00000-0"

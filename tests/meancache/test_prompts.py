"""Prompt suites and the noise of their samples."""

import json
from collections import Counter

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


def test_full_info_of_vbench_gives_prompts_with_all_their_dimensions(tmp_path):
    info = [
        {"prompt_en": "a kite", "dimension": ["scene", "colour"]},
        {"prompt_en": "two kites", "dimension": ["count"]},
    ]
    (tmp_path / "info.json").write_text(json.dumps(info))
    kite, two = load_prompts(tmp_path / "info.json")
    assert (kite.text, kite.categories, two.categories) == ("a kite", ("scene", "colour"), ("count",))
    (tmp_path / "info.json").write_text('[{"prompt": "a kite"}]')
    with pytest.raises(ValueError, match="not a JSON list of objects with prompt_en and dimension"):
        load_prompts(tmp_path / "info.json")


def test_categories_are_chosen_before_the_limit_and_keep_indices(tmp_path):
    lines = [json.dumps({"prompt": f"{name} {i}", "category": name}) for i in range(4) for name in ("a", "b+c", "c")]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    chosen = load_prompts(tmp_path / "a.jsonl", 4, ["c"])
    assert [(prompt.index, prompt.text) for prompt in chosen] == [
        (1, "b+c 0"),
        (4, "b+c 1"),
        (7, "b+c 2"),
        (10, "b+c 3"),
    ]
    assert [prompt.index for prompt in load_prompts(tmp_path / "a.jsonl", None, ["a"])] == [0, 3, 6, 9]


@pytest.mark.parametrize("categories", [["d"], ["a", "d"], []])
def test_a_category_that_no_prompt_has_is_refused(tmp_path, categories):
    (tmp_path / "a.jsonl").write_text('{"prompt": "x", "category": "a"}\n{"prompt": "y", "category": "b"}')
    with pytest.raises(ValueError, match="no categories .*it has a, b; null takes all"):
        load_prompts(tmp_path / "a.jsonl", None, categories)


def test_files_in_another_encoding_are_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(ValueError, match="no UTF-8 text"):
        load_prompts(tmp_path / "a.txt")


def test_a_limit_gives_every_category_its_share_where_prompts_are_of_several(tmp_path):
    groups = [["still"]] * 9 + [["scene", "background"]] * 12 + [["action"]] * 20 + [["scene"]] * 3
    info = [{"prompt_en": f"prompt {i}", "dimension": names} for i, names in enumerate(groups)]
    (tmp_path / "info.json").write_text(json.dumps(info))
    chosen = load_prompts(tmp_path / "info.json", 12)
    counts = Counter(name for prompt in chosen for name in prompt.categories)
    assert counts == {"still": 4, "scene": 5, "background": 4, "action": 3}  # of 12 prompts, four count twice
    assert [prompt.index for prompt in chosen if prompt.categories == ("action",)] == [21, 27, 34]  # spread over 20
    assert chosen == load_prompts(tmp_path / "info.json", 12)
    # the scarce category is used up, and the others share the rest
    assert Counter(prompt.category for prompt in load_prompts(tmp_path / "info.json", 40))["still"] == 9
    assert len({prompt.index for prompt in load_prompts(tmp_path / "info.json", 43)}) == 43

"""README is held to the committed results: what it says of methods is beyond the noise."""

import pytest

from experiments.claims import CLAIMS, PAGE, advantage, main, page
from experiments.compose import CONF

README = " ".join((CONF.parent / "README.md").read_text().split())
PAIRS = [(claim, *pair[:2], pair[2:]) for claim in CLAIMS["holds"] for pair in claim["pairs"]]


@pytest.mark.parametrize(("claim", "better", "worse", "about"), PAIRS, ids=[f"{p[1]} > {p[2]}" for p in PAIRS])
def test_what_readme_says_is_beyond_the_noise(claim, better, worse, about):
    assert claim["says"] in README
    gap = advantage(claim, better, worse)
    assert gap.mean > 0 and gap.excludes_zero, f"{gap:.3f}"
    assert all(number in claim["says"] and f"{gap.mean:.1f}" == number for number in about), f"{gap:.3f}"


def test_what_was_withdrawn_is_within_the_noise_and_gone_from_readme():
    for claim in CLAIMS["withdrawn"]:
        assert claim["said"] not in README
        assert not any(advantage(claim, *pair).excludes_zero for pair in claim["pairs"])


def test_the_page_is_what_the_command_writes():
    assert PAGE.read_text() == page()


def test_a_row_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no row 'MeanCache' in the results of equal_nfe"):
        advantage({"results": "equal_nfe", "metric": "psnr"}, "MeanCache", "Fewer steps: 15")
    with pytest.raises(ValueError, match="takes no arguments"):
        main(["results=mine"])

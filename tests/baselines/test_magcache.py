"""MagCache's computed steps, as upstream's scripts and diffusers give them for their published ratios."""

import pytest
import yaml

from baselines.magcache import MagCache
from experiments.compose import CONF, compose_config
from experiments.job import Job

FLUX = yaml.safe_load((CONF / "preset" / "flux-ratios.yaml").read_text())["ratios"]


@pytest.mark.parametrize(
    ("method", "num_steps", "expected"),
    [
        (MagCache(0.24, FLUX, 5, 0.1, protected=11), 28, [0, 1, 2, 5, 9, 11, 17, 23, 26]),
        (MagCache(0.06, FLUX, 3, 0.2), 28, [*range(6), 7, 9, 13, 17, 21, 24, 26, 27]),
        (MagCache(0.24, FLUX, 5, 0.1, protected=11), 50, [*range(5), 6, 9, 13, 17, 20, 26, 32, 38, 44, 47]),
        (
            MagCache(0.06, FLUX, 3, 0.2),
            50,
            [*range(10), 11, 13, 15, 17, 19, 23, 27, 31, 35, 39, 42, 44, 46, 47, 48, 49],
        ),
    ],
)
def test_computed_steps_are_upstreams(method, num_steps, expected):
    assert sorted(method.computed_steps(num_steps)) == expected


SLOW = [*range(10), 12, 15, 18, 22, 25, 29, 33, 38, 43, 46, 48, 49]
FAST = [*range(10), 14, 18, 23, 29, 34, 41, 46, 48]


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("flux", [], [*range(5), 6, 9, 13, 17, 20, 26, 32, 38, 44, 47]),
        ("hunyuan_video", ["threshold=0.12", "max_skips=4"], SLOW),
        ("hunyuan_video", ["threshold=0.12", "max_skips=4", "preset=hunyuan_video-magcache-720p"], SLOW),
        ("hunyuan_video", [], FAST),
        ("hunyuan_video", ["preset=hunyuan_video-magcache-720p"], [*FAST, 49]),
        ("qwen_image", [], [*range(16), 17, 18, 19, 21, 23, 25, 27, 29, 31, 34, 37, 39, *range(41, 50)]),
    ],
)
def test_the_presets_of_models_give_upstreams_steps(model, settings, expected):
    method = Job(compose_config([f"model={model}", "method=magcache", *settings])).method
    assert sorted(method.computed_steps(50)) == expected


def test_an_error_at_the_threshold_skips_unless_strict():
    ratios = (1.0, 1.5, 1.0, 1.0)
    assert sorted(MagCache(0.5, ratios, warmup_share=0.0).computed_steps(4)) == [0, 2]
    assert 1 in MagCache(0.5, ratios, warmup_share=0.0, strict=True).computed_steps(4)


def test_no_more_than_max_skips_in_a_row():
    constant = (1.0,) * 10
    assert sorted(MagCache(1.0, constant, max_skips=2, warmup_share=0.0).computed_steps(10)) == [0, 3, 6, 9]
    assert len(MagCache(1.0, constant, max_skips=0).computed_steps(10)) == 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": -1}, "threshold must be a number >= 0"),
        ({"max_skips": 1.5}, "max_skips must be a whole number"),
        ({"warmup_share": 2}, "warmup_share must be between 0 and 1"),
        ({"ratios": (1.0,)}, "two or more positive"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MagCache(**{"threshold": 0.1, "ratios": FLUX} | settings)

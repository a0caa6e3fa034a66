import pytest

from eval.metrics import METRICS, Batch, find_metrics


def test_every_metric_is_named_after_its_key_and_says_what_scores_it():
    assert all(metric.name == name and metric.scorer() for name, metric in METRICS.items())


def test_st_lpips_and_lpips_are_never_confused():
    assert (METRICS["st_lpips"].heading, METRICS["lpips"].heading) == ("ST-LPIPS ↓", "LPIPS ↓")
    assert METRICS["st_lpips"].scorer().startswith("stlpips_pytorch 0")
    assert METRICS["lpips"].scorer().startswith("lpips 0")


@pytest.mark.parametrize("name", ["psnr", "ssim", "st_lpips"])
def test_noise_makes_every_score_worse(name, pictures, add_noise):
    (metric,) = find_metrics([name])
    little, much = (
        metric.score(Batch(add_noise(pictures, strength), pictures, ("a", "b"))) for strength in (0.05, 0.2)
    )
    assert ((little > much) == metric.higher_is_better).all()


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ValueError, match="'pnsr': did you mean 'psnr'"):
        find_metrics(["ssim", "pnsr"])

import pytest
import torch

from eval import fidelity
from eval import metric as metric_module
from eval.fidelity import ssim
from eval.metric import Batch
from eval.metrics import METRICS, find_metrics


def test_every_metric_is_named_after_its_key_and_says_what_scores_it():
    assert all(metric.name == name and metric.provenance() for name, metric in METRICS.items())


def test_st_lpips_and_lpips_are_never_confused():
    assert (METRICS["st_lpips"].heading, METRICS["lpips"].heading) == ("ST-LPIPS ↓", "LPIPS ↓")
    assert METRICS["st_lpips"].provenance().startswith("stlpips_pytorch 0")
    assert METRICS["lpips"].provenance().startswith("lpips 0")


@pytest.mark.parametrize("name", ["psnr", "ssim", "st_lpips"])
def test_noise_makes_every_score_worse(name, pictures, add_noise):
    (metric,) = find_metrics([name])
    little, much = (
        metric.score(Batch(add_noise(pictures, strength), pictures, ("a", "b"))) for strength in (0.05, 0.2)
    )
    assert ((little > much) == metric.higher_is_better).all()


@pytest.mark.parametrize("name", ["psnr", "ssim", "st_lpips"])
def test_a_video_scores_the_mean_of_its_frames(name, videos, add_noise):
    (metric,) = find_metrics([name])
    noisy = add_noise(videos, 0.1)
    scores = metric.score(Batch(noisy, videos, ("a", "b")))
    frames = [metric.score(Batch(noisy[:, k], videos[:, k], ("a", "b"))) for k in range(4)]
    torch.testing.assert_close(scores, torch.stack(frames).mean(dim=0), rtol=1e-4, atol=1e-5)


def test_the_frames_of_a_long_video_are_scored_a_few_at_a_time(videos, add_noise, monkeypatch):
    seen = []

    def watched(images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return ssim(images, references)

    monkeypatch.setattr(metric_module, "FRAMES_AT_ONCE", 3)
    monkeypatch.setattr(fidelity, "ssim", watched)
    batch = Batch(add_noise(videos, 0.1), videos, ("a", "b"))
    scores = METRICS["ssim"].score(batch)
    assert seen == [3, 3, 2]
    monkeypatch.undo()
    torch.testing.assert_close(scores, METRICS["ssim"].score(batch), rtol=1e-5, atol=1e-6)


def test_an_identical_frame_is_left_out_of_a_videos_psnr(videos, add_noise):
    (metric,) = find_metrics(["psnr"])
    noisy = add_noise(videos, 0.1)
    noisy[0, 1], noisy[1] = videos[0, 1], videos[1]
    scores = metric.score(Batch(noisy, videos, ("a", "b")))
    others = [metric.score(Batch(noisy[:1, k], videos[:1, k], ("a",))).item() for k in (0, 2, 3)]
    assert scores[0].item() == pytest.approx(sum(others) / 3, rel=1e-5) and scores[1] == torch.inf


def test_temporal_flickering_counts_what_changes_from_frame_to_frame(videos):
    (metric,) = find_metrics(["temporal_flickering"])
    steady = videos[:, :1].expand(-1, 4, -1, -1, -1)
    half = torch.tensor([0.0, 0.5, 0.0]).view(1, 3, 1, 1, 1).expand(1, 3, 3, 8, 8)
    assert metric.score(Batch(steady, videos, ("a", "b"))).tolist() == [1.0, 1.0]
    assert metric.score(Batch(half, half, ("a",))).tolist() == [0.5]
    with pytest.raises(ValueError, match="at least two frames.*metrics=fidelity"):
        metric.score(Batch(videos[:, 0], videos[:, 0], ("a", "b")))


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ValueError, match="'pnsr': did you mean 'psnr'"):
        find_metrics(["ssim", "pnsr"])

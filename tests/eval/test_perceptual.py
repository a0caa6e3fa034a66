from itertools import pairwise

import pytest
import torch

from eval import perceptual
from eval.perceptual import MetricUnavailable, lpips, st_lpips


def test_st_lpips_rises_with_noise_from_zero(pictures, add_noise):
    scores = [st_lpips(add_noise(pictures, strength), pictures) for strength in (0, 0.02, 0.1, 0.4)]
    assert scores[0].tolist() == [0, 0]
    assert all((a < b).all() for a, b in pairwise(scores))


def test_st_lpips_forgives_a_shift_but_not_another_picture(pictures):
    assert 10 * st_lpips(pictures[:1].roll(1, -1), pictures[:1]) < st_lpips(pictures[1:], pictures[:1])


def test_st_lpips_has_trained_weights():
    from stlpips_pytorch import stlpips

    state = torch.load(
        stlpips.__file__.replace("stlpips.py", "weights/vST0.0/alex_shift_tolerant.pth"), map_location="cpu"
    )
    network = perceptual._st_lpips_network(torch.device("cpu"))
    assert all(torch.equal(network.state_dict()[name], value) for name, value in state.items())
    assert {name.split(".")[0] for name in network.state_dict()} - {name.split(".")[0] for name in state} <= {"lins"}


def test_lpips_without_its_backbone_is_unavailable_and_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    perceptual._lpips_network.cache_clear()
    with pytest.raises(MetricUnavailable, match=r"alexnet-owt-7be5be79\.pth are not in .*download https://") as error:
        lpips(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    assert str(tmp_path) not in str(error.value)  # the message is published with the results


def test_lpips_refuses_a_damaged_backbone(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    perceptual._lpips_network.cache_clear()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "alexnet-owt-7be5be79.pth").write_bytes(b"half a download")
    with pytest.raises(MetricUnavailable, match="damaged"):
        lpips(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))


def test_lpips_scores_each_picture_on_the_range_of_its_network(pictures, add_noise, monkeypatch):
    def distance(images, references, *, normalize):
        assert normalize  # [0, 1] in, [-1, 1] inside
        return (images - references).abs().mean(dim=(1, 2, 3), keepdim=True)

    monkeypatch.setattr(perceptual, "_lpips_network", lambda device: distance)
    assert lpips(add_noise(pictures, 0.1), pictures).shape == (2,)


@pytest.mark.parametrize(("score", "smallest"), [(st_lpips, 21), (lpips, 31)])
def test_small_pictures_are_refused(score, smallest):
    with pytest.raises(ValueError, match=f"at least {smallest}"):
        score(torch.rand(1, 3, 64, smallest - 1), torch.rand(1, 3, 64, smallest - 1))


def test_st_lpips_takes_the_smallest_picture():
    assert st_lpips(torch.rand(1, 3, 21, 21), torch.rand(1, 3, 21, 21)).isfinite()

from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import lpips as lpips_package
import pytest
import torch
import torchvision

from eval import perceptual
from eval.metric import MetricUnavailable
from eval.perceptual import LPIPS_SMALLEST, ST_LPIPS_SMALLEST, lpips, st_lpips
from eval.weights import TRUNKS


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
    network = perceptual._st_lpips_network("alex", torch.device("cpu"))
    assert all(torch.equal(network.state_dict()[name], value) for name, value in state.items())
    assert {name.split(".")[0] for name in network.state_dict()} - {name.split(".")[0] for name in state} <= {"lins"}


MODELS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}  # of torchvision, by the name of their net
TAPS = {  # layers after which the paper's authors compare
    "alex": (1, 4, 7, 9, 11),
    "vgg": (3, 8, 15, 22, 29),
    "squeeze": (1, 4, 7, 9, 10, 11, 12),
}


@pytest.fixture
def seeded_trunk(tmp_path, monkeypatch):
    """Puts a trunk of random weights where torchvision looks for the trained one; gives its layers."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    perceptual._lpips_network.cache_clear()

    def put(net: str) -> torch.nn.Sequential:
        torch.manual_seed(0)
        with torch.device("meta"):
            model = getattr(torchvision.models, MODELS[net])()
        state = {}
        for name, weight in model.state_dict().items():
            noise = torch.randn(weight.shape) if name.startswith("features") else torch.zeros(1).expand(weight.shape)
            state[name] = noise / weight[0].numel() ** 0.5 if weight.ndim > 1 else noise * 0.1
        file = TRUNKS[net].target
        file.parent.mkdir(parents=True)
        torch.save(state, file)
        monkeypatch.setitem(TRUNKS, net, replace(TRUNKS[net], sha256=sha256(file.read_bytes()).hexdigest()[:8]))
        model.load_state_dict(state, assign=True)
        return model.features.eval()

    yield put
    perceptual._lpips_network.cache_clear()


def lpips_by_hand(net: str, layers: torch.nn.Sequential, images, references) -> torch.Tensor:
    """Eq. (1) of Zhang et al. with the trained heads of the package, on [0, 1]."""
    folder = Path(lpips_package.__file__).parent / "weights" / "v0.1"
    heads = list(torch.load(folder / f"{net}.pth", map_location="cpu").values())
    shift, scale = (torch.tensor(v).view(3, 1, 1) for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    both = [(2 * pictures - 1 - shift) / scale for pictures in (images, references)]
    total = torch.zeros(len(images))
    for index, layer in enumerate(layers):
        both = [layer(x) for x in both]
        if index in TAPS[net]:
            a, b = (x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10) for x in both)
            total = total + ((a - b).square() * heads[TAPS[net].index(index)]).sum(dim=1).mean(dim=(1, 2))
    return total


@pytest.mark.parametrize("net", TRUNKS)
@torch.inference_mode()
def test_lpips_is_the_papers_equation_on_the_same_trunk(net, seeded_trunk, pictures, add_noise):
    layers = seeded_trunk(net)
    noisy = add_noise(pictures, 0.2)
    expected = lpips_by_hand(net, layers, noisy.clone(), pictures.clone())
    torch.testing.assert_close(lpips(noisy, pictures, net), expected, rtol=1e-4, atol=1e-6)
    assert lpips(pictures, pictures, net).tolist() == [0, 0] and expected.min() > 0.001


def test_lpips_without_its_trunk_is_unavailable_and_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    perceptual._lpips_network.cache_clear()
    with pytest.raises(
        MetricUnavailable, match=r"needs vgg16-397923af\.pth \(528 MB\): .*experiments\.weights"
    ) as error:
        lpips(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), "vgg")
    assert str(tmp_path) not in str(error.value)  # the message is published with the results


def test_lpips_refuses_a_damaged_trunk(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    perceptual._lpips_network.cache_clear()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "alexnet-owt-7be5be79.pth").write_bytes(b"half a download")
    with pytest.raises(MetricUnavailable, match=r"undamaged alexnet-owt-7be5be79\.pth .* begins 7be5be79, not \w{8}"):
        lpips(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))


SMALLEST = [(st_lpips, net, size) for net, size in ST_LPIPS_SMALLEST.items()]
SMALLEST += [(lpips, net, size) for net, size in LPIPS_SMALLEST.items()]


@pytest.mark.parametrize(("score", "net", "smallest"), SMALLEST)
def test_small_pictures_are_refused(score, net, smallest):
    with pytest.raises(ValueError, match=f"at least {smallest}"):
        score(torch.rand(1, 3, 64, smallest - 1), torch.rand(1, 3, 64, smallest - 1), net)


@pytest.mark.parametrize("net", ST_LPIPS_SMALLEST)
def test_st_lpips_takes_the_smallest_picture(net):
    size = ST_LPIPS_SMALLEST[net]
    assert st_lpips(torch.rand(1, 3, size, size), torch.rand(1, 3, size, size), net).isfinite()


@pytest.mark.parametrize("net", LPIPS_SMALLEST)
def test_lpips_takes_the_smallest_picture(net, seeded_trunk):
    seeded_trunk(net)
    size = LPIPS_SMALLEST[net]
    assert lpips(torch.rand(1, 3, size, size), torch.rand(1, 3, size, size), net).isfinite()


def test_the_nets_of_st_lpips_differ(pictures, add_noise):
    noisy = add_noise(pictures, 0.1)
    alex, vgg = (st_lpips(noisy, pictures, net) for net in ("alex", "vgg"))
    assert (alex > 0).all() and (vgg > 0).all() and (alex != vgg).all()

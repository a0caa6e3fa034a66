"""CLIP Score against open_clip used by hand, on a tiny architecture with random weights."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from eval.clip_score import Scorer, prompt_lengths, what_is_wrong

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PROMPTS = ("a red circle", "three blue stars above a green square")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of the tiny architecture, which open_clip knows from here on."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-clip.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-clip")
    torch.save(model.state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


@pytest.fixture(scope="module")
def scorer(weights):
    return Scorer("tiny-clip", weights, torch.device("cpu"))


def by_hand(weights, file, prompt: str) -> float:
    """The score of a picture file, with open_clip's own functions and nothing of ours."""
    model, _, preprocess = open_clip.create_model_and_transforms("tiny-clip", pretrained=str(weights))
    model.eval()
    with torch.no_grad():
        seen = model.encode_image(preprocess(Image.open(file)).unsqueeze(0))[0]
        read = model.encode_text(open_clip.get_tokenizer("tiny-clip")([prompt]))[0]
    return 100 * max(0.0, float(torch.nn.functional.cosine_similarity(seen, read, dim=0)))


def random_pictures(count: int, height: int, width: int) -> np.ndarray:
    small = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    large = [Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC) for one in small]
    return np.stack([np.asarray(one) for one in large])


def as_tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("size", [(32, 32), (96, 61), (17, 20)])
def test_scores_are_those_of_open_clip(scorer, weights, tmp_path, size):
    pictures = random_pictures(2, *size)
    scores = scorer(as_tensor(pictures), PROMPTS)
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
        expected = by_hand(weights, tmp_path / f"{index}.png", PROMPTS[index])
        assert scores[index].item() == pytest.approx(expected, abs=1e-4)


def test_negative_cosines_count_as_nothing(scorer):
    pictures = as_tensor(random_pictures(16, 40, 40))
    cosines = torch.tensor([scorer(pictures, (prompt,) * 16).tolist() for prompt in (*PROMPTS, "x", "a dog", "night")])
    assert cosines.min() == 0 and (cosines == 0).sum() > 1 and cosines.max() > 1


def test_a_video_scores_the_mean_of_its_frames(scorer):
    frames = as_tensor(random_pictures(6, 40, 40))
    videos = frames.view(2, 3, *frames.shape[1:])
    each = scorer(frames, [prompt for prompt in PROMPTS for _ in range(3)])
    torch.testing.assert_close(scorer(videos, PROMPTS), each.view(2, 3).mean(dim=1), atol=1e-4, rtol=0)


def test_what_lies_beyond_77_tokens_is_not_read_and_that_is_known(scorer):
    picture = as_tensor(random_pictures(1, 40, 40))
    just, long = " ".join(["cat"] * 75), " ".join(["cat"] * 75 + ["dog"])
    assert prompt_lengths("tiny-clip", [just, long, ""]) == (77, [77, 78, 2])
    assert scorer(picture, [just]) == scorer(picture, [long]) != scorer(picture, [just.replace("cat", "dog")])


def test_what_open_clip_cannot_do_is_one_clear_error(weights, tmp_path):
    assert what_is_wrong("ViT-gigantic") == "open_clip has no architecture 'ViT-gigantic', see open_clip.list_models()"
    assert what_is_wrong("ViT-B-16-SigLIP") == "ViT-B-16-SigLIP does not read prompts with CLIP's own tokens"
    assert what_is_wrong("ViT-bigG-14") == what_is_wrong("tiny-clip") == ""
    with pytest.raises(ValueError, match=r"weights\.pt has no weights of RN50"):
        Scorer("RN50", weights, torch.device("cpu"))
    (tmp_path / "half.pt").write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"half\.pt has no weights of tiny-clip"):
        Scorer("tiny-clip", tmp_path / "half.pt", torch.device("cpu"))

"""ImageReward: a tiny one against its equations written out, and the whole one against its own package."""

import hashlib
import json
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear, softmax

from eval import image_reward, prompt_scores
from eval.image_reward import DEVIATION, HEAD, MEAN, ImageReward, Scorer, load_scorer, prompt_lengths
from eval.metrics import choose_metrics
from experiments.evaluate import evaluate

ENVIRONMENT = Path(__file__).parents[2] / ".venv-imagereward" / "bin" / "python"
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
WORDS = (
    "a",
    "red",
    "blue",
    "circle",
    "star",
    "above",
    "the",
    "cafe",
    "in",
    "and",
    "very",
    "long",
    "prompt",
    "'",
    "-",
    ",",
    ".",
)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PROMPTS = (
    "a red circle above a blue star",
    "Ein Café in Zürich, naïve façade — 3.5mm!",
    "東京 tower 🌸 of the émigré",
    "",
    "a very long prompt and a very long prompt in a very-long-prompt " * 3,
    "a [SEP] star [DEC] in\tthe [ENC] \n circle's [MASK]",
)


def vocabulary(folder: Path) -> Path:
    """A vocabulary of ours with BERT's special tokens at their places."""
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    lines = [special.get(index, f"[unused{index}]") for index in range(104)]
    lines += dict.fromkeys([*WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)])
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n")
    return folder / "vocab.txt"


def pictures(folder: Path) -> list[Path]:
    """Four pictures of different sizes, two of them smaller than the network's 224 pixels."""
    generator = np.random.default_rng(0)
    files = []
    for index, size in enumerate([(64, 64), (200, 300), (224, 224), (700, 500)]):
        small = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        files.append(folder / f"{index}.png")
        small.resize(size, Image.Resampling.BICUBIC).save(files[-1])
    return files


def load(file: Path) -> Tensor:
    return torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1).float()[None] / 255


def released_state() -> dict[str, Tensor]:
    """Random weights of the tiny sizes, with the names of the released file."""
    vision, text = "blip.visual_encoder", "blip.text_encoder"
    wide, narrow = VISION["hidden_size"], TEXT["hidden_size"]
    linears = {f"{vision}.patch_embed.proj": (3, wide), "blip.vision_proj": (wide, 8), "blip.text_proj": (narrow, 8)}
    norms = {f"{vision}.norm": wide, f"{text}.embeddings.LayerNorm": narrow}
    for layer in range(2):
        block, inner = f"{vision}.blocks.{layer}", VISION["intermediate_size"]
        linears |= {f"{block}.attn.qkv": (wide, 3 * wide), f"{block}.attn.proj": (wide, wide)}
        linears |= {f"{block}.mlp.fc1": (wide, inner), f"{block}.mlp.fc2": (inner, wide)}
        norms |= {f"{block}.norm1": wide, f"{block}.norm2": wide}
        block, inner = f"{text}.encoder.layer.{layer}", TEXT["intermediate_size"]
        for attention, source in (("attention", narrow), ("crossattention", wide)):
            linears |= {f"{block}.{attention}.self.{part}": (source, narrow) for part in ("key", "value")}
            linears |= {f"{block}.{attention}.{part}": (narrow, narrow) for part in ("self.query", "output.dense")}
            norms |= {f"{block}.{attention}.output.LayerNorm": narrow}
        linears |= {f"{block}.intermediate.dense": (narrow, inner), f"{block}.output.dense": (inner, narrow)}
        norms |= {f"{block}.output.LayerNorm": narrow}
    linears |= {f"mlp.layers.{at}": ends for at, ends in zip((0, 2, 4, 6, 7), zip((narrow, *HEAD), HEAD))}
    torch.manual_seed(0)
    state = {f"{name}.weight": torch.randn(out, into) * into**-0.5 for name, (into, out) in linears.items()}
    state |= {f"{name}.bias": 0.1 * torch.randn(out) for name, (_, out) in linears.items()}
    state |= {f"{name}.weight": 1 + 0.1 * torch.randn(size) for name, size in norms.items()}
    state |= {f"{name}.bias": 0.1 * torch.randn(size) for name, size in norms.items()}
    state[f"{vision}.patch_embed.proj.weight"] = torch.randn(wide, 3, 16, 16) / 28
    state[f"{vision}.cls_token"] = torch.randn(1, 1, wide)
    state[f"{vision}.pos_embed"] = torch.randn(1, 197, wide)
    state[f"{text}.embeddings.word_embeddings.weight"] = torch.randn(30524, narrow)
    state[f"{text}.embeddings.position_embeddings.weight"] = torch.randn(512, narrow)
    state[f"{text}.embeddings.position_ids"] = torch.arange(512)[None]
    return state


class ByHand:
    """The equations of ImageReward on a state with the released names, one picture and one prompt at a time."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def linear(self, name: str, x: Tensor) -> Tensor:
        return linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, name: str, x: Tensor, epsilon: float) -> Tensor:
        return layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], epsilon)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        """Every token of (N, C) attends to all of (M, C)."""
        query, key, value = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (query, key, value))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return (softmax(scores, dim=-1) @ value).transpose(0, 1).flatten(1)

    def see(self, pixels: Tensor) -> Tensor:
        root = "blip.visual_encoder"
        weight, bias = (self.state[f"{root}.patch_embed.proj.{part}"] for part in ("weight", "bias"))
        patches = conv2d(pixels, weight, bias, stride=16)[0].flatten(1).T
        x = torch.cat([self.state[f"{root}.cls_token"][0], patches]) + self.state[f"{root}.pos_embed"][0]
        for layer in range(2):
            block = f"{root}.blocks.{layer}"
            parts = self.linear(f"{block}.attn.qkv", self.norm(f"{block}.norm1", x, 1e-6)).chunk(3, dim=-1)
            x = x + self.linear(f"{block}.attn.proj", self.attend(*parts, heads=2))
            hidden = gelu(self.linear(f"{block}.mlp.fc1", self.norm(f"{block}.norm2", x, 1e-6)))
            x = x + self.linear(f"{block}.mlp.fc2", hidden)
        return self.norm(f"{root}.norm", x, 1e-6)

    def read(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Tokens without padding: nothing attends to it."""
        root = "blip.text_encoder"
        words = self.state[f"{root}.embeddings.word_embeddings.weight"][tokens]
        places = self.state[f"{root}.embeddings.position_embeddings.weight"][: len(tokens)]
        x = self.norm(f"{root}.embeddings.LayerNorm", words + places, 1e-12)
        for layer in range(2):
            block = f"{root}.encoder.layer.{layer}"
            for attention, source in (("attention", x), ("crossattention", seen)):
                name = f"{block}.{attention}"
                query = self.linear(f"{name}.self.query", x)
                key, value = (self.linear(f"{name}.self.{part}", source) for part in ("key", "value"))
                attended = self.linear(f"{name}.output.dense", self.attend(query, key, value, heads=3))
                x = self.norm(f"{name}.output.LayerNorm", attended + x, 1e-12)
            hidden = gelu(self.linear(f"{block}.intermediate.dense", x))
            x = self.norm(f"{block}.output.LayerNorm", self.linear(f"{block}.output.dense", hidden) + x, 1e-12)
        return x[0]

    def score(self, pixels: Tensor, tokens: Tensor) -> float:
        x = self.read(tokens, self.see(pixels))
        for at in (0, 2, 4, 6, 7):
            x = self.linear(f"mlp.layers.{at}", x)
        return (x.item() - MEAN) / DEVIATION


@pytest.fixture
def scorer(tmp_path):
    network = ImageReward(VISION, TEXT)
    network.load_released(released_state())
    return Scorer(network, vocabulary(tmp_path), torch.device("cpu"))


def test_scores_are_those_of_the_equations(scorer, tmp_path):
    by_hand = ByHand(released_state())
    scores = []
    for file in pictures(tmp_path)[:2]:
        for prompt in PROMPTS:
            tokens, mask = scorer.tokens(prompt)
            (score,) = scorer(load(file), [prompt]).tolist()
            expected = by_hand.score(scorer.pixels(Image.open(file))[None], tokens[mask.bool()])
            assert score == pytest.approx(expected, abs=1e-4)
            scores.append(score)
    assert np.ptp(scores) > 0.1  # pictures and prompts matter


def test_a_score_does_not_depend_on_its_batch(scorer, tmp_path):
    file = pictures(tmp_path)[0]
    together = scorer(load(file).expand(len(PROMPTS), -1, -1, -1), PROMPTS)
    assert together.tolist() == [scorer(load(file), [prompt]).item() for prompt in PROMPTS]


def test_a_prompt_ends_after_35_tokens_and_that_is_known(scorer, tmp_path):
    just, long = " ".join(["star"] * 33), " ".join(["star"] * 34)
    assert prompt_lengths(vocabulary(tmp_path), [just, long, ""]) == (35, [35, 36, 2])
    assert scorer.tokens(just)[0].tolist() == scorer.tokens(long)[0].tolist()
    tokens, mask = scorer.tokens("a star")
    assert tokens.shape == (1, 35) and mask.sum() == 4 and tokens[0, 4:].eq(0).all()


def test_another_checkpoint_is_refused(scorer):
    state = released_state()
    del state["blip.text_encoder.encoder.layer.1.crossattention.self.key.weight"]
    with pytest.raises(ValueError, match=r"no checkpoint of ImageReward-v1\.0: 1 of .*\.1\.crossattention\.self\.key"):
        scorer.network.load_released(state)
    with pytest.raises(ValueError, match="are missing or have another shape"):
        ImageReward({**VISION, "hidden_size": 64}, TEXT).load_released(released_state())


def test_a_run_is_scored_from_the_files_of_weights(monkeypatch, tmp_path, write_run):
    monkeypatch.setenv("MEANCACHE_HOME", str(tmp_path))
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save(released_state(), folder / "ImageReward.pt")
    vocabulary(folder).rename(folder / "bert-base-uncased-vocab.txt")
    for name in ("IMAGE_REWARD", "BERT_VOCABULARY"):
        file = getattr(prompt_scores, name)
        digest = hashlib.sha256(file.target.read_bytes()).hexdigest()
        monkeypatch.setattr(prompt_scores, name, replace(file, sha256=digest))
    monkeypatch.setattr(image_reward, "ImageReward", partial(ImageReward, VISION, TEXT))
    shown = torch.cat([load(file)[..., :64, :64] for file in pictures(tmp_path)])
    run, (metric,) = write_run("run", shown), choose_metrics(["image_reward"], [], {}, "picture", "flux")
    entry = evaluate(run, run, [metric])["metrics"]["image_reward"]
    scorer = load_scorer(*metric.paths(), torch.device("cpu"))
    expected = scorer(shown, [f"prompt {index}" for index in range(4)])
    assert list(entry["per_sample"].values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert "ImageReward.pt sha256 " in entry["provenance"] and "notes" not in entry
    assert metric.notes(PROMPTS) == ("ImageReward reads 35 tokens of a prompt: 1 of 6 prompts were cut",)
    metric.release()


@pytest.mark.skipif(not ENVIRONMENT.exists(), reason="needs `make env-imagereward`: the package itself")
def test_scores_are_those_of_the_unpatched_package_bit_for_bit(tmp_path):
    (tmp_path / "bert-base-uncased").mkdir()
    words = vocabulary(tmp_path / "bert-base-uncased")
    files = pictures(tmp_path)
    requests = [(prompt, files[index % len(files)]) for index, prompt in enumerate(PROMPTS)]
    (tmp_path / "requests.json").write_text(json.dumps([(prompt, file.name) for prompt, file in requests]))
    script = Path(__file__).with_name("image_reward_package.py")
    done = subprocess.run([ENVIRONMENT, script, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    checkpoint = tmp_path / "ImageReward.pt"
    scorer = load_scorer(checkpoint, words, torch.device("cpu"))
    load_scorer.cache_clear()
    checkpoint.unlink()  # 1.8 GB
    tokens = json.loads((tmp_path / "tokens.json").read_text())
    assert [scorer.tokens(prompt)[0][0].tolist() for prompt in PROMPTS] == tokens
    scores = [scorer(load(file), [prompt]).item() for prompt, file in requests]
    assert scores == json.loads((tmp_path / "scores.json").read_text())
    assert np.ptp(scores) > 0.01

"""Run by the interpreter of .venv-imagereward: the scores of the unpatched package image-reward, random weights.

python image_reward_package.py FOLDER    (with ``bert-base-uncased/vocab.txt``, ``requests.json`` and its pictures)

Writes ``ImageReward.pt``, as large and with the same names as the released file, ``scores.json`` and ``tokens.json``.
"""

import json
import os
import sys
from pathlib import Path

import torch

folder = Path(sys.argv[1])
os.chdir(folder)  # the package looks for bert-base-uncased here before it asks the hub
os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)

from ImageReward.ImageReward import ImageReward  # noqa: E402

CONFIG = {  # BLIP's med_config.json; the package sets the width of the picture encoder itself
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 30524,
    "encoder_width": 768,
    "add_cross_attention": True,
}


def randomise(model: torch.nn.Module) -> None:
    """Weights from one seed that let pictures and prompts matter: the package's own give one score for all."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if weight.ndim == 1:
            weight.data = 0.1 * noise + float("norm" in name.lower() and name.endswith("weight"))
        else:
            weight.data = noise / weight[0].numel() ** 0.5


Path("med_config.json").write_text(json.dumps(CONFIG))
model = ImageReward(med_config="med_config.json", device="cpu").eval()
randomise(model)
torch.save(model.state_dict(), "ImageReward.pt")
requests = json.loads(Path("requests.json").read_text())
with torch.no_grad():
    scores = [model.score(prompt, picture) for prompt, picture in requests]
settings = {"padding": "max_length", "truncation": True, "max_length": 35}
tokens = [model.blip.tokenizer(prompt, **settings).input_ids for prompt, _ in requests]
Path("scores.json").write_text(json.dumps(scores))
Path("tokens.json").write_text(json.dumps(tokens))

"""Every file of weights that scorers may ask for, by metric."""

from eval.vbench_weights import WEIGHTS
from eval.weights import BERT_VOCABULARY, CLIP, IMAGE_REWARD, TRUNKS

CATALOGUE = {
    "lpips": tuple(TRUNKS.values()),
    "clip_score": tuple(CLIP.values()),
    "image_reward": (IMAGE_REWARD, BERT_VOCABULARY),
    "vbench": tuple(dict.fromkeys(file for files in WEIGHTS.values() for file in files)),
}

"""Files that VBench's dimensions read, where they come from, and where VBench looks for them.

Addresses are those in utils.py, aesthetic_quality.py and third_party/ViCLIP/simple_tokenizer.py of VBench 0.1.5, and a
fixed commit of DINO's code, of which it would clone the newest. It would fetch what is missing by itself; we look
first, so that nothing is fetched unasked.
"""

from eval.weights import HUB, WeightFile
from meancache.downloads import file_checksum

OPENAI = "https://openaipublic.azureedge.net/clip/models"
MODELS = f"{HUB}/OpenGVLab/VBench_Used_Models/resolve/main"
DINO_CODE = "https://raw.githubusercontent.com/facebookresearch/dino/7c446df5b9f45747937fb0d72314eb9f7b66930a"


def _file(folder: str, address: str, size_mb: float = 0, sha256: str = "", licence: str = "not stated") -> WeightFile:
    return WeightFile(f"{folder}/{address.split('/')[-1]}", address, size_mb, sha256, licence, shelf="vbench")


def _clip(name: str, size_mb: float, sha256: str) -> WeightFile:
    return _file("clip_model", f"{OPENAI}/{sha256}/{name}", size_mb, sha256, "MIT")


def _dino_code(name: str, sha256: str) -> WeightFile:
    return _file("dino_model/facebookresearch_dino_main", f"{DINO_CODE}/{name}", 0.02, sha256, "Apache-2.0")


CLIP_B = _clip("ViT-B-32.pt", 354, "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af")
CLIP_L = _clip("ViT-L-14.pt", 933, "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836")
DINO = (
    _file("dino_model", "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth", 343),
    _dino_code("hubconf.py", "fa80babf82c71d2123e23b05061eb1991a1fbc9877238f250b2a25023e910f72"),
    _dino_code("vision_transformer.py", "b1f998d5f49ab43666b9fc6d007c5f6540c3ead2e8645e144f74045f63ff44d7"),
    _dino_code("utils.py", "962a97e1acda1c986dfd921275325e4083f9016dddadcf018f1ccf03fa600eab"),
)
AESTHETIC = WeightFile(
    "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth",
    "https://github.com/LAION-AI/aesthetic-predictor/blob/main/sa_0_4_vit_l_14_linear.pth?raw=true",
    0.004,
    shelf="vbench",
)
MUSIQ = _file(
    "pyiqa_model",
    "https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/musiq_spaq_ckpt-358bb6af.pth",
    109,
)
RAFT = WeightFile(
    "raft_model/models/raft-things.pth",
    "https://dl.dropboxusercontent.com/s/4j4z58wuv8o0mfz/models.zip",
    21,
    shelf="vbench",
)
VICLIP = (
    _file("ViCLIP", f"{MODELS}/ViClip-InternVid-10M-FLT.pth", 1710),
    _file(
        "ViCLIP",
        "https://raw.githubusercontent.com/openai/CLIP/main/clip/bpe_simple_vocab_16e6.txt.gz",
        1.4,
        "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
        "MIT",
    ),
)
GRIT = (_file("grit_model", "https://datarelease.blob.core.windows.net/grit/models/grit_b_densecap_objectdet.pth"),)
WEIGHTS: dict[str, tuple[WeightFile, ...]] = {  # of every dimension
    "subject_consistency": DINO,
    "background_consistency": (CLIP_B,),
    "temporal_flickering": (),
    "motion_smoothness": (_file("amt_model", f"{HUB}/lalala125/AMT/resolve/main/amt-s.pth", 12),),
    "aesthetic_quality": (CLIP_L, AESTHETIC),
    "imaging_quality": (MUSIQ,),
    "dynamic_degree": (RAFT,),
    "object_class": GRIT,
    "multiple_objects": GRIT,
    "color": GRIT,
    "spatial_relationship": GRIT,
    "human_action": (_file("umt_model", f"{MODELS}/l16_ptk710_ftk710_ftk400_f16_res224.pth"),),
    "scene": (
        _file("caption_model", f"{HUB}/spaces/xinyu1205/recognize-anything/resolve/main/tag2text_swin_14m.pth", 4480),
    ),
    "appearance_style": (CLIP_B,),
    "temporal_style": VICLIP,
    "overall_consistency": VICLIP,
}


def is_complete(dimension: str) -> bool:
    """Whether all that a dimension reads lies where VBench looks, whole."""
    return not any(file.what_is_wrong() for file in WEIGHTS[dimension])


def fingerprint(dimension: str) -> str:
    """The beginning of the SHA-256 of each file that a dimension reads; "" where it reads none."""
    return " ".join(file_checksum(path)[:16] for file in WEIGHTS[dimension] if (path := file.find()))

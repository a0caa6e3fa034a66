"""The tokenizers, built from our captions: byte-level BPE of CLIP, Qwen2 and Llama 3, and T5's Unigram.

Every word of the captions becomes one token, and any printable ASCII text still splits into known pieces.
"""

import json
import random
import re
import string
from collections.abc import Iterable
from typing import Any

from diffusers import QwenImagePipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer, T5TokenizerFast

from embedded.world.captions import caption
from embedded.world.scenes import sample_scene

T5_LENGTH = 24
CLIP_LENGTH = 32
CLIP_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
QWEN_LENGTH = 2048
QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
LLAMA_LENGTH = 512
LLAMA_SPECIAL = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def corpus(count: int = 4000, seed: int = 0, moving: bool = False) -> list[str]:
    """Captions of pictures or of videos, with common and with rare words, for the vocabularies."""
    rng = random.Random(seed)
    return [caption(sample_scene(rng, moving=moving), rng, rare=k % 3 == 0).text for k in range(count)]


def build_clip_tokenizer(texts: Iterable[str], length: int = CLIP_LENGTH) -> CLIPTokenizer:
    """CLIP's tokenizer with merges learned until every word of the texts is one token."""
    blank = CLIPTokenizer()
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=CLIP_SPECIAL[1]))
    tokenizer.normalizer = blank.backend_tokenizer.normalizer
    tokenizer.pre_tokenizer = blank.backend_tokenizer.pre_tokenizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=[*letters, *(letter + "</w>" for letter in letters)],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocab = tokenizer.get_vocab()
    for name in CLIP_SPECIAL:
        vocab[name] = len(vocab)
    merges = [tuple(pair) for pair in _merges(tokenizer)]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=length)


def _merges(tokenizer: Tokenizer) -> list[list[str]]:
    """Learned BPE merges, in order of rank."""
    return json.loads(tokenizer.to_str())["model"]["merges"]


def build_t5_tokenizer(texts: Iterable[str]) -> T5TokenizerFast:
    """T5's tokenizer: every word of the texts is one piece, everything else is spelled in letters and short pieces."""
    words = sorted({word for text in texts for word in text.replace(",", " ").replace(".", " ").split()})
    halves = sorted({word[k:] for word in words for k in range(1, len(word) - 2)} - set(words))
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -6.0)]
    pieces += [("\u2581" + word, -5.0) for word in words]
    pieces += [(half, -9.0) for half in halves if len(half) <= 4]
    pieces += [(letter, -10.0) for letter in string.printable if not letter.isspace()]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=T5_LENGTH)


def qwen_template() -> tuple[str, int]:
    """Qwen-Image's prompt template and the number of its tokens that stand before the prompt."""
    parts = dict.fromkeys(("scheduler", "vae", "text_encoder", "tokenizer", "transformer"))
    pipe = QwenImagePipeline(**parts)
    return pipe.prompt_template_encode, pipe.prompt_template_encode_start_idx


def build_qwen_tokenizer(texts: Iterable[str]) -> Qwen2Tokenizer:
    """Qwen2's tokenizer with merges learned until every word of the texts and of the pipeline's template is one token.

    Raises:
        ValueError: The template then has another length than the pipeline cuts off.
    """
    template, length = qwen_template()
    tokenizer = _template_tokenizer(template, texts)
    vocab = tokenizer.get_vocab()
    for name in QWEN_SPECIAL:
        vocab[name] = len(vocab)
    merges = [tuple(pair) for pair in _merges(tokenizer)]
    built = Qwen2Tokenizer(
        vocab=vocab, merges=merges, extra_special_tokens=list(QWEN_SPECIAL[1:]), model_max_length=QWEN_LENGTH
    )
    _check_length(built, template, length)
    return built


def build_llama_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Llama 3's tokenizer (which splits words as Qwen2's does) for HunyuanVideo's template, whose words are one token.

    Raises:
        ValueError: The template then has another length than the pipeline cuts off.
    """
    template, length = DEFAULT_PROMPT_TEMPLATE["template"], DEFAULT_PROMPT_TEMPLATE["crop_start"]
    tokenizer = _template_tokenizer(template, texts)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(LLAMA_SPECIAL))
    start, stop, *_, end_of_turn = LLAMA_SPECIAL
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
    )
    built = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=start,
        eos_token=end_of_turn,
        pad_token=stop,
        padding_side="right",
        model_max_length=LLAMA_LENGTH,
    )
    _check_length(built, template, length)
    return built


def _template_tokenizer(template: str, texts: Iterable[str]) -> Tokenizer:
    """Byte-level BPE with Qwen2's rules of splitting and merges for every word of the texts in their template."""
    blank = Qwen2Tokenizer()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = blank.backend_tokenizer.normalizer
    tokenizer.pre_tokenizer = blank.backend_tokenizer.pre_tokenizer
    pieces = [piece for text in texts for piece in re.split(r"<\|\w+\|>", template.format(text))]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=4000, initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator(pieces, trainer)
    return tokenizer


def _check_length(tokenizer: Any, template: str, length: int) -> None:
    if (found := len(tokenizer(template[: template.index("{}")]).input_ids)) != length:
        raise ValueError(f"the template has {found} tokens before the prompt, but the pipeline drops {length}")

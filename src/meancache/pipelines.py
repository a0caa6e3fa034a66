"""Load a diffusers pipeline from a model's configuration, once a process."""

import gc
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from meancache.config import ModelConfig, RuntimeConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_loaded: dict[str, Any] = {}  # at most one: jobs of a sweep in one process share it


def check_weights(model: ModelConfig) -> None:
    """Raise ValueError, saying how to get them, if the weights are neither here nor may be fetched."""
    folder = Path(model.path)
    if folder.is_dir():
        if not (folder / "model_index.json").exists():
            raise ValueError(f"{model.path} is no diffusers model folder: it has no model_index.json. {model.weights}")
    elif not model.download and not _in_hub_cache(model):
        raise ValueError(f"the weights {model.path!r} are neither a folder here nor in the hub cache. {model.weights}")


def _in_hub_cache(model: ModelConfig) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(model.path, "model_index.json", revision=model.revision), str)
    except HFValidationError:  # not even the form of a hub id
        return False


def load_pipeline(model: ModelConfig, runtime: RuntimeConfig) -> Any:
    """The pipeline, on its device and ready to be called.

    Raises:
        ValueError: missing or damaged weights, unknown pipeline class, dtype or device.
    """
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    if model.dtype not in DTYPES:
        raise ValueError(f"model.dtype must be one of {', '.join(DTYPES)}, got {model.dtype!r}")
    if runtime.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"runtime.device={runtime.device}, but torch sees no GPU; set runtime.device=cpu")
    check_weights(model)
    key = str((asdict(model), runtime.device, runtime.offload, runtime.compile))
    if key not in _loaded:
        _loaded.clear()  # before loading: two large pipelines may not fit
        gc.collect()
        _loaded[key] = _place(_load(model), runtime)
    return _loaded[key]


def _load(model: ModelConfig) -> Any:
    import diffusers  # takes seconds: only jobs that generate pay for it
    import transformers

    if not hasattr(diffusers, model.pipeline):
        raise ValueError(f"diffusers {diffusers.__version__} has no pipeline {model.pipeline!r}")
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    local = Path(model.path).is_dir()
    options = {} if local else {"revision": model.revision, "local_files_only": not model.download}
    try:
        pipe = getattr(diffusers, model.pipeline).from_pretrained(model.path, dtype=DTYPES[model.dtype], **options)
    except (OSError, ValueError) as error:
        raise ValueError(f"the weights {model.path!r} are damaged or incomplete: {error}. {model.weights}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _place(pipe: Any, runtime: RuntimeConfig) -> Any:
    if runtime.offload == "model":
        pipe.enable_model_cpu_offload(device=runtime.device)
    elif runtime.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=runtime.device)
    else:
        pipe.to(runtime.device)
    if runtime.compile:
        pipe.transformer.compile_repeated_blocks(fullgraph=True)
    return pipe

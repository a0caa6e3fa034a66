"""Load a diffusers pipeline from a model's configuration, once a process."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from meancache.config import ModelConfig, RuntimeConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_pipeline(model: ModelConfig, runtime: RuntimeConfig) -> Any:
    """The pipeline, on its device and ready to be called. Jobs of a sweep in one process share it.

    Raises:
        ValueError: missing weights, unknown pipeline class, dtype or device.
    """
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    if model.dtype not in DTYPES:
        raise ValueError(f"model.dtype must be one of {', '.join(DTYPES)}, got {model.dtype!r}")
    if runtime.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"runtime.device={runtime.device}, but torch sees no GPU; set runtime.device=cpu")
    source = (model.pipeline, model.path, model.revision, model.download, model.weights)
    return _load(*source, DTYPES[model.dtype], runtime.device, runtime.offload, runtime.compile)


@lru_cache(maxsize=1)
def _load(
    pipeline: str,
    path: str,
    revision: str | None,
    download: bool,
    weights: str,
    dtype: torch.dtype,
    device: str,
    offload: str,
    compiled: bool,
) -> Any:
    import diffusers  # takes seconds: only jobs that generate pay for it
    import transformers

    if not hasattr(diffusers, pipeline):
        raise ValueError(f"diffusers {diffusers.__version__} has no pipeline {pipeline!r}")
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    local = Path(path).is_dir()
    if local and not (Path(path) / "model_index.json").exists():
        raise ValueError(f"{path} is no diffusers model folder: it has no model_index.json. {weights}")
    options: dict[str, Any] = {} if local else {"revision": revision, "local_files_only": not download}
    try:
        pipe = getattr(diffusers, pipeline).from_pretrained(path, dtype=dtype, **options)
    except (OSError, ValueError) as error:
        if local:
            raise ValueError(f"the model folder {path} is damaged or incomplete: {error}") from error
        raise ValueError(f"the weights {path!r} are neither a folder here nor in the hub cache. {weights}") from error
    pipe.set_progress_bar_config(disable=True)
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)
    if compiled:
        pipe.transformer.compile_repeated_blocks(fullgraph=True)
    return pipe

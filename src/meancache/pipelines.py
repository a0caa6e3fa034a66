"""Load a diffusers pipeline from a model's configuration, once a process."""

import gc
from collections.abc import Mapping
from dataclasses import asdict
from inspect import getsource, signature
from pathlib import Path
from typing import Any

import torch

from meancache.config import ModelConfig, RuntimeConfig
from meancache.models import adapter_for
from meancache.weights import check_weights

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_loaded: dict[str, Any] = {}  # at most one: jobs of a sweep in one process share it


def start_runtime(runtime: RuntimeConfig) -> None:
    """Set torch's threads. Raises ValueError if the device is not there."""
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    if runtime.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"runtime.device={runtime.device}, but torch sees no GPU; set runtime.device=cpu")


def load_pipeline(model: ModelConfig, runtime: RuntimeConfig) -> Any:
    """The pipeline, on its device and ready to be called.

    Raises:
        ValueError: missing or damaged weights, unknown pipeline class, argument of its call, dtype or device, or what
            `prepare` refuses.
    """
    start_runtime(runtime)
    _check(model)
    key = str((asdict(model), runtime.device, runtime.offload, runtime.compile, runtime.attention))
    if key not in _loaded:
        _loaded.clear()  # before loading: two large pipelines may not fit
        gc.collect()
        _loaded[key] = prepare(_load(model), model, runtime)
    return _loaded[key]


def with_denoiser(pipe: Any, model: ModelConfig, runtime: RuntimeConfig) -> Any:
    """A second pipeline of a loaded one's parts, but with the denoiser and settings of ``model``."""
    _check(model)
    kind = type(pipe)
    options = {} if Path(model.path).is_dir() else {"revision": model.revision, "local_files_only": not model.download}
    other = kind.from_pipe(pipe, transformer=_load_denoiser(model, kind, options), torch_dtype=None)  # as they are
    other.set_progress_bar_config(disable=True)
    return prepare(other, model, runtime)


def _check(model: ModelConfig) -> None:
    for name, dtype in [("model.dtype", model.dtype), ("model.vae_dtype", model.vae_dtype or model.dtype)]:
        if dtype not in DTYPES:
            raise ValueError(f"{name} must be one of {', '.join(DTYPES)}, got {dtype!r}")
    check_weights(model)


def _load(model: ModelConfig) -> Any:
    import diffusers  # takes seconds: only jobs that generate pay for it
    import transformers

    if not hasattr(diffusers, model.pipeline):
        raise ValueError(f"diffusers {diffusers.__version__} has no pipeline {model.pipeline!r}")
    kind = getattr(diffusers, model.pipeline)
    if unknown := model.call.keys() - signature(kind.__call__).parameters.keys():
        raise ValueError(f"a call of {model.pipeline} has no argument {', '.join(sorted(unknown))}: see model.call")
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    local = Path(model.path).is_dir()
    options = {} if local else {"revision": model.revision, "local_files_only": not model.download}
    dtypes = {"default": DTYPES[model.dtype], "vae": DTYPES[model.vae_dtype or model.dtype]}
    try:
        parts = {"transformer": _load_denoiser(model, kind, options)} if model.transformer else {}
        pipe = kind.from_pretrained(model.path, dtype=dtypes, **options, **parts)
    except (OSError, ValueError) as error:
        raise ValueError(f"the weights {model.path!r} are damaged or incomplete: {error}. {model.weights}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _load_denoiser(model: ModelConfig, pipeline: Any, options: Mapping[str, Any]) -> Any:
    from diffusers import AutoModel

    folder, dtype = Path(str(model.transformer)), DTYPES[model.dtype]
    own = {} if folder.is_dir() else {"local_files_only": not model.download}
    try:
        if folder.is_dir() and not (folder / "config.json").exists():
            return _load_shards(model, pipeline, folder, options).to(dtype)
        return AutoModel.from_pretrained(model.transformer, dtype=dtype, **own)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"cannot load the denoiser {model.transformer!r}: {error}. It must be a folder with the weights "
            "(*.safetensors) of the model's own architecture, or a hub id (with model.download=true)"
        ) from error


def _load_shards(model: ModelConfig, pipeline: Any, folder: Path, options: Mapping[str, Any]) -> Any:
    """Bare weights, as some repositories of distilled denoisers hold them, in the model's own architecture."""
    import diffusers
    from accelerate import init_empty_weights
    from safetensors.torch import load_file

    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise ValueError("there are no *.safetensors in it")
    index = pipeline.load_config(model.path, **options)
    kind = getattr(diffusers, index["transformer"][1])
    with init_empty_weights():
        denoiser = kind.from_config(kind.load_config(model.path, subfolder="transformer", **options))
    denoiser.load_state_dict({name: t for shard in shards for name, t in load_file(shard).items()}, assign=True)
    return denoiser.eval()


def prepare(pipe: Any, model: ModelConfig, runtime: RuntimeConfig) -> Any:
    """Apply what model and runtime ask of a pipeline, and put it on its device.

    Raises:
        ValueError: a setting that this pipeline does not support or that would have no effect on it.
    """
    denoisers = [getattr(pipe, name) for name in adapter_for(pipe).denoisers]
    if model.vae_dtype not in (None, model.dtype) and "vae.dtype" not in getsource(type(pipe).__call__):
        raise ValueError(f"{type(pipe).__name__} hands its latents to the VAE as they are; set model.vae_dtype=null")
    if model.vae_tiling:
        _tile(pipe, model)
    for denoiser in denoisers if runtime.attention else ():
        _set_attention(denoiser, str(runtime.attention))
    if runtime.offload == "model":
        pipe.enable_model_cpu_offload(device=runtime.device)
    elif runtime.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=runtime.device)
    else:
        pipe.to(runtime.device)
    for denoiser in denoisers if runtime.compile else ():
        denoiser.compile_repeated_blocks(fullgraph=True)
    return pipe


def _tile(pipe: Any, model: ModelConfig) -> None:
    vae = getattr(pipe, "vae", None)
    try:
        vae.enable_tiling()  # type: ignore[union-attr]
    except (AttributeError, NotImplementedError) as error:
        raise ValueError(f"{type(vae).__name__} cannot decode in tiles; set model.vae_tiling=false") from error
    sides = {side: model.call.get(side) for side in ("height", "width")}
    tiles = {side: getattr(vae, f"tile_sample_min_{side}", getattr(vae, "tile_sample_min_size", 0)) for side in sides}
    if all(length is not None and length <= tiles[side] for side, length in sides.items()):
        raise ValueError(
            f"model.vae_tiling has no effect: {sides['height']}x{sides['width']} fits into one tile of "
            f"{tiles['height']}x{tiles['width']}; set model.vae_tiling=false"
        )


def _set_attention(denoiser: Any, name: str) -> None:
    from diffusers.models.attention_dispatch import attention_backend

    try:
        with attention_backend():  # on leaving it, diffusers' choice for all other models is what it was
            denoiser.set_attention_backend(name)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"runtime.attention={name}: {error}") from error
    processors = [getattr(module, "processor", None) for module in denoiser.modules()]
    if not any(getattr(processor, "_attention_backend", None) for processor in processors):
        raise ValueError(f"runtime.attention={name} has no effect on {type(denoiser).__name__}; leave it at null")

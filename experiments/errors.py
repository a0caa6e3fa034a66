"""What is wrong with the input, in one line."""

import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.compose import CONF, compose_raw


def one_line(error: BaseException, arguments: Sequence[str]) -> str | None:
    """The message for a mistake of the user's, or None for a defect of ours, which deserves its traceback."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        text = " ".join(str(error).split())
        key = re.search(r"Could not (?:override|append to config)[^']*'([^']+)'", text)
        return _unknown_key(key.group(1), arguments) if key else text.split(" Config search path")[0]
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; if results go there, set output=<a folder you can write to>"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, without importing torch for it
        return f"{error} For less: runtime=gpu_offload, model.vae_tiling=true, calibrate.batch_size=1"
    return " ".join(str(error).split()) if isinstance(error, ValueError | OSError) else None


def run_program(main: Callable[[list[str]], None]) -> None:
    """Call ``main`` with the command line's arguments; a mistake of the user's ends in one line and status 1."""
    try:
        main(sys.argv[1:])
    except Exception as error:
        message = one_line(error, sys.argv[1:])
        if message is None:
            raise
        sys.exit(f"error: {message}")


def _unknown_key(key: str, arguments: Sequence[str]) -> str:
    key = key.lstrip("+~").split("=")[0]
    choices = [a for a in arguments if "=" in a and "," not in a and (CONF / a.lstrip("+").split("=")[0]).is_dir()]
    valid = _flatten(OmegaConf.to_container(compose_raw(choices)), "")
    where = " with " + " ".join(choices) if choices else ""
    if key in valid:
        return f"cannot set {key!r}{where}: give it a plain value"
    close = get_close_matches(key, valid, n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(close)}?" if close else "`python run.py --cfg job` shows all settings"
    return f"there is no setting {key!r}{where}; {hint}"


def _flatten(node: object, prefix: str) -> list[str]:
    if not isinstance(node, dict):
        return []
    names = [(f"{prefix}{key}", value) for key, value in node.items()]
    return [name for name, _ in names] + [deep for name, value in names for deep in _flatten(value, f"{name}.")]

"""Files of others that are fetched once, when you allow it: where they lie, and how they come there."""

import hashlib
import logging
import os
import sys
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from meancache.artifacts import make_folder

log = logging.getLogger(__name__)


def home() -> Path:
    """Where this machine's copies lie.

    In ``$MEANCACHE_HOME``, else in ``meancache`` under ``$XDG_CACHE_HOME``, else under ``~/.cache``, as the hub's and
    torch's caches do.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get("MEANCACHE_HOME") or caches / "meancache").expanduser()


def file_checksum(path: Path) -> str:
    """SHA-256 of a file; one that did not change since is not read again by this process."""
    state = path.stat()
    return _checksum(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _checksum(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(address: str, path: Path, sha256: str) -> None:
    """Fetch a file, whole or not at all.

    Args:
        address: where it lies in public.
        path: where to put it; what is there is replaced.
        sha256: its checksum, or the beginning of it.

    Raises:
        ValueError: it cannot be fetched, or holds other bytes than it should.
    """
    import pooch  # whoever fetches nothing can do without

    pooch.get_logger().setLevel("WARNING")
    folder = make_folder(path.parent)
    partial = folder / f".{path.name}.{uuid4().hex}.partial"
    downloader = pooch.HTTPDownloader(timeout=60, progressbar=sys.stderr.isatty())
    try:
        pooch.retrieve(address, None, partial.name, folder, downloader=downloader)
        found = file_checksum(partial)
        if not found.startswith(sha256):
            raise ValueError(f"{address} gave other bytes than expected: nothing was kept (SHA-256 {found})")
        os.replace(partial, path)
    except OSError as error:
        raise ValueError(f"cannot fetch {address} ({error}): try again, or put a copy into {folder}") from error
    finally:
        partial.unlink(missing_ok=True)
    log.info("fetched %s", path)

"""Pictures and videos of a report: the full ones hard-linked or copied, small ones of those that are large."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copyfile

import imageio.v3 as imageio
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from meancache.run_folder import Record, RunFolder

THUMBNAIL = 192  # pixels of the shorter side, twice what the page shows; pictures as small as this need no thumbnail


def size_of(run: RunFolder, record: Record) -> tuple[int, int]:
    """Width and height of a picture, or of a video's frames."""
    with PngImageFile(run.path / record.file) as image:  # reads the header alone
        width, height = image.size
    return width, height // (record.num_frames or 1)


def needs_thumbnails(run: RunFolder, record: Record) -> bool:
    return record.num_frames is not None or min(size_of(run, record)) > THUMBNAIL


def place(run: RunFolder, named: Iterable[tuple[str, Record]], folder: Path, *, thumbnails: bool) -> None:
    """Put the samples of a run into ``folder``, under the names given; what is there already is kept.

    Writes ``media/<run>/<name>.png`` or ``.mp4``, and ``thumbnails/<run>/<name>.jpg`` where asked for.
    """
    (folder / "media" / run.name).mkdir(parents=True, exist_ok=True)
    (folder / "thumbnails" / run.name).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = []
        for name, record in named:
            source = run.to_look_at(record)
            copied = link(source, folder / "media" / run.name / f"{name}{source.suffix}")
            small = folder / "thumbnails" / run.name / f"{name}.jpg"
            if thumbnails and (copied or not small.exists()):
                waiting.append(pool.submit(_shrink, source, small))
        for done in waiting:
            done.result()


def link(source: Path, target: Path) -> bool:
    """The same file in two places, or a copy where the file system cannot do that. False if it was there before."""
    if target.exists():
        old, new = target.stat(), source.stat()
        if os.path.samestat(old, new) or (old.st_size == new.st_size and old.st_mtime_ns >= new.st_mtime_ns):
            return False
        target.unlink()
    try:
        os.link(source, target)
    except OSError:
        copyfile(source, target)
    return True


def _shrink(source: Path, target: Path) -> None:
    if source.suffix == ".mp4":
        image = Image.fromarray(imageio.imread(source, index=0, plugin="FFMPEG"))
    else:
        with PngImageFile(source) as opened:
            image = opened.convert("RGB")
    scale = max(1, min(image.size) / THUMBNAIL)
    image.thumbnail((image.width / scale, image.height / scale), Image.Resampling.LANCZOS, reducing_gap=2.0)
    image.save(target, format="JPEG", quality=88)

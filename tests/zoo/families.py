"""All entries: importing a family's module registers them."""

from tests.zoo import (
    audio,
    audio_video,
    flux,
    hunyuan_video,
    images,
    makers,
    more_video,
    qwen_image,
    schedulers,
    sd3,
    video,
    wan,
    z_image,
)
from tests.zoo.entries import ENTRIES, Entry

IMAGES = (flux, qwen_image, sd3, z_image, images, makers)
VIDEOS = (wan, hunyuan_video, video, more_video, audio_video)
MODULES = (*IMAGES, *VIDEOS, audio, schedulers)


def entries() -> list[Entry]:
    """Every entry, modules in the order of ``MODULES``, and what they say in the order written."""
    return [entry for module in MODULES for entry in ENTRIES.values() if entry.make.__module__ == module.__name__]

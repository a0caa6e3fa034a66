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

MODULES = (
    flux,
    qwen_image,
    sd3,
    z_image,
    images,
    makers,
    wan,
    hunyuan_video,
    video,
    more_video,
    audio_video,
    audio,
    schedulers,
)


def entries() -> list[Entry]:
    """Every entry, in the order in which their modules were read."""
    return list(ENTRIES.values())

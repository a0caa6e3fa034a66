"""All entries: importing a family's module registers them."""

from tests.zoo import audio_video, flux, images, makers, qwen_image, schedulers, sd3, video, wan, z_image
from tests.zoo.entries import ENTRIES, Entry

MODULES = (flux, qwen_image, sd3, z_image, images, makers, wan, video, audio_video, schedulers)


def entries() -> list[Entry]:
    """Every entry, in the order in which their modules were read."""
    return list(ENTRIES.values())

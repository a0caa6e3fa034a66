"""All entries: importing a family's module registers them."""

from tests.zoo import flux
from tests.zoo.entries import ENTRIES, Entry

MODULES = (flux,)


def entries() -> list[Entry]:
    """Every entry, families in the order of ``MODULES``."""
    return list(ENTRIES.values())

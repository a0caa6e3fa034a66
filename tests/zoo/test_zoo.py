"""Every entry of the zoo works as an independent replay does, or is refused for the true reason before it costs."""

import pytest

from tests.zoo import families, table
from tests.zoo.check import Zoo, check, refuse
from tests.zoo.entries import Entry

ENTRIES = families.entries()
WORKING = [entry for entry in ENTRIES if not entry.refused]
REFUSED = [entry for entry in ENTRIES if entry.refused]


@pytest.mark.parametrize("entry", WORKING, ids=lambda entry: entry.name)
def test_works_and_equals_the_replay(entry: Entry) -> None:
    zoo = Zoo(entry)
    with zoo.counting():
        check(zoo)


@pytest.mark.parametrize("entry", REFUSED, ids=lambda entry: entry.name)
def test_is_refused_before_the_first_denoiser_call(entry: Entry) -> None:
    zoo = Zoo(entry)
    with zoo.counting(), pytest.raises((ValueError, RuntimeError), match=entry.refused):
        refuse(zoo)


def test_the_table_says_what_is_tested() -> None:
    rows = [line.split(" | ")[:2] for line in table.PATH.read_text().splitlines() if line.startswith("| ")][1:]
    written = [(name[2:], result) for name, result in rows if not name.startswith("| **")]
    expected = [(entry.name, "refused" if entry.refused else "works") for entry in ENTRIES]
    assert sorted(written) == sorted(expected), "write it again: python -m tests.zoo.table"

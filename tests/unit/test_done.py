"""Finished units are remembered as they were, in little memory."""

import hashlib
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.completeness import Finding, Method
from pipeline.done import PACKED_AT_ONCE, DoneUnit, DoneUnits

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def units(count: int) -> list[DoneUnit]:
    """As a night leaves them: every third has rows."""
    return [
        DoneUnit(
            "t~" + hashlib.sha256(b"%d" % number).hexdigest()[:43],
            NOON - timedelta(days=1),
            NOON,
            number % 3,
            Finding(Method.COUNT, number % 3),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, PACKED_AT_ONCE, 3 * PACKED_AT_ONCE + 7])
def test_units_come_back_as_they_were_added(count: int) -> None:
    """All of them, in order, as often as they are gone through."""
    done = DoneUnits(units(count))

    assert len(done) == count
    assert list(done) == list(done) == units(count)


def test_a_unit_takes_little_memory() -> None:
    """A hundred thousand principals have some of them each, until the manifest is written."""
    tracemalloc.start()
    done = DoneUnits(iter(units(40 * PACKED_AT_ONCE)))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert taken < 60 * len(done)

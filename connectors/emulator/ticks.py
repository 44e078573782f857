"""Instants as whole numbers of 100 nanoseconds since 1970, the resolution in which Exchange keeps time.

Graph writes instants with 0, 3, 6 or 7 digits of a second; ticks hold all of them exactly, so that a comparison
in a `$filter` is never decided by rounding.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECOND = 10_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NEVER = "0001-01-01T00:00:00Z"  # what Graph writes for "has not happened"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,12}))?)?(Z|[+-]\d\d:\d\d)?)?", re.IGNORECASE
)


def to_ticks(instant: datetime) -> int:
    """The ticks of an aware instant."""
    return (instant - _EPOCH) // timedelta(microseconds=1) * 10


def to_datetime(ticks: int) -> datetime:
    """The instant in UTC, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=ticks // 10)


def to_text(ticks: int, digits: int = 0) -> str:
    """`2026-03-02T09:00:00Z`, with so many digits of the second."""
    seconds, fraction = divmod(ticks, SECOND)
    if digits == 0:
        return _whole_second(seconds) + "Z"
    return f"{_whole_second(seconds)}.{fraction // 10 ** (7 - digits):0{digits}d}Z"


def to_local_text(ticks: int) -> str:
    """The `dateTime` of a dateTimeTimeZone: seven digits and no offset."""
    seconds, fraction = divmod(ticks, SECOND)
    return f"{_whole_second(seconds)}.{fraction:07d}"


def parse(text: str) -> int:
    """The ticks of an ISO 8601 text; without an offset it is UTC. Raises ValueError."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError("not an instant")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    ticks = to_ticks(datetime(year, month, day, hour, minute, second, tzinfo=UTC))
    ticks += int((match[7] or "0").ljust(7, "0")[:7])
    zone = match[8]
    if zone and zone not in "Zz":
        offset = int(zone[1:3]) * HOUR + int(zone[4:6]) * MINUTE
        ticks += -offset if zone[0] == "+" else offset
    return ticks


@lru_cache(maxsize=65_536)
def _whole_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")

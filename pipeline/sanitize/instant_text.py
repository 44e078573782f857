"""Instants and dates as Graph spells them.

    2026-03-02T09:00:00Z    2026-03-02T09:00:00.1234567Z    2026-03-02T10:00:00+01:00    2026-03-02T09:00:00.0000000

Graph sends up to seven fraction digits; they are cut to microseconds, not rounded. `0001-01-01` is its "never".
The text forms are those Arrow reads, so that a value means the same alone and in a column.
https://learn.microsoft.com/graph/api/resources/datetimetimezone (checked 2026-11)
"""

import re
from datetime import UTC, date, datetime

NEVER = datetime(1, 1, 1, tzinfo=UTC)

_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def parse_instant(text: str, *, zoned: bool) -> datetime | None:
    """The UTC instant; None for "never". `zoned` text has to end in `Z` or an offset, other text is UTC without one.

    Raises:
        ValueError: the text is no instant; the message holds nothing of it.
    """
    match = _INSTANT.fullmatch(text)
    if match is None or (zoned and match[6] is None):
        raise ValueError("no instant")
    day, hour, minute, second, fraction, zone = match.groups()
    spelled = f"{day}T{hour or '00'}:{minute or '00'}:{second or '00'}.{(fraction or '').ljust(6, '0')}{zone or 'Z'}"
    try:
        instant = datetime.fromisoformat(spelled).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("no instant") from None
    return None if instant == NEVER else instant


def parse_date(text: str) -> date | None:
    """The date; None for "never".

    Raises:
        ValueError: the text is no date; the message holds nothing of it.
    """
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise ValueError("no date")
    return None if day == NEVER.date() else day

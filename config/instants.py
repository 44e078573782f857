"""Instants and durations as people write them on the command line and in the settings file.

An instant is always a moment in UTC; what could be read in two ways (a time of day without a zone) is
refused. A duration is a whole number of seconds; units whose length depends on the calendar (months, years)
are refused.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

_INSTANT = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:T(?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
    r"(?P<zone>Z|(?P<sign>[+-])(?P<hours>[0-9]{2}):(?P<minutes>[0-9]{2}))?)?"
)
_SHORT_DURATION = re.compile(r"(?P<count>[0-9]{1,12})(?P<unit>[smhd])")
_ISO_DURATION = re.compile(
    r"P(?:(?P<weeks>[0-9]{1,9})W)?(?:(?P<days>[0-9]{1,9})D)?"
    r"(?:T(?:(?P<hours>[0-9]{1,12})H)?(?:(?P<minutes>[0-9]{1,12})M)?(?:(?P<seconds>[0-9]{1,12})S)?)?"
)
_SECONDS_OF_UNIT = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def parse_instant(text: str) -> datetime:
    """The moment `text` names, aware and in UTC.

    `2026-11-19` is its first moment; `2026-11-19T02:00:00Z` may carry up to six digits of a second; an offset
    such as `+01:00` is converted. Raises ValueError for everything else, with the reason.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError("an instant is written 2026-11-19 or 2026-11-19T02:00:00Z")
    if match["time"] is None:
        return _calendar(match["date"] + "T00:00:00", zone=UTC)
    if match["zone"] is None:
        raise ValueError("a time of day needs its zone: end it with Z, or with an offset such as +01:00")
    fraction = match["fraction"] or "0"
    if len(fraction) > 6:
        raise ValueError("at most six digits of a second are kept; write fewer")
    try:
        local = _calendar(f"{match['date']}T{match['time']}", zone=_zone(match))
        return local.replace(microsecond=int(fraction.ljust(6, "0"))).astimezone(UTC)
    except OverflowError:
        raise ValueError("this instant lies outside the years 1 to 9999 in UTC") from None


def format_instant(instant: datetime) -> str:
    """`2026-11-19T02:00:00Z`, with six digits of a second when there are any. ValueError without a zone."""
    moment = _in_utc(instant)
    return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds")[:-6] + "Z"


def format_compact(instant: datetime) -> str:
    """`20261119T020000Z`, for names of objects; fractions of a second are cut. ValueError without a zone."""
    # Not strftime: its %Y does not pad years below 1000 on every platform.
    return _in_utc(instant).isoformat(timespec="seconds")[:-6].replace("-", "").replace(":", "") + "Z"


def parse_duration(text: str) -> timedelta:
    """The length `text` names: `90s`, `15m`, `6h`, `30d`, or ISO 8601 in weeks, days and time (`PT1H30M`).

    Never negative. Raises ValueError for everything else, with the reason.
    """
    try:
        if short := _SHORT_DURATION.fullmatch(text):
            return timedelta(seconds=int(short["count"]) * _SECONDS_OF_UNIT[short["unit"]])
        iso = _ISO_DURATION.fullmatch(text)
        if iso is None or text[-1] in "PT":
            raise ValueError("a duration is written 90s, 15m, 6h or 30d, or in ISO 8601 as days and time: P1D, PT1H30M")
        return timedelta(**{unit: int(count) for unit, count in iso.groupdict(default="0").items()})
    except OverflowError:
        raise ValueError("this duration is longer than can be handled") from None


def format_duration(duration: timedelta) -> str:
    """The shortest spelling that `parse_duration` reads back: `30d`, `6h`, `90s`; zero is `0s`.

    Raises ValueError for a negative duration or one with a fraction of a second.
    """
    seconds, rest = divmod(duration, timedelta(seconds=1))
    if seconds < 0 or rest:
        raise ValueError("a duration is a whole number of seconds, zero or more")
    unit = next(unit for unit, length in _SECONDS_OF_UNIT.items() if (seconds or 1) % length == 0)
    return f"{seconds // _SECONDS_OF_UNIT[unit]}{unit}"


def _calendar(text: str, *, zone: timezone) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone)
    except ValueError:
        raise ValueError("no such date or time in the calendar") from None


def _zone(match: re.Match[str]) -> timezone:
    if match["zone"] == "Z":
        return UTC
    if int(match["hours"]) > 23 or int(match["minutes"]) > 59:
        raise ValueError("an offset is written +HH:MM or -HH:MM, below 24 hours")
    offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
    return timezone(-offset if match["sign"] == "-" else offset)


def _in_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("an instant carries its zone")
    return instant.astimezone(UTC)

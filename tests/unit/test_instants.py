"""Instants and durations mean one thing or are refused."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.instants import format_compact, format_duration, format_instant, parse_duration, parse_instant

OFFSETS = st.integers(min_value=-23 * 60, max_value=23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# A year from the edges, so that every offset can be converted.
INSTANTS = st.datetimes(
    min_value=datetime.fromisoformat("0002-01-01"),
    max_value=datetime.fromisoformat("9998-12-31"),
    timezones=st.just(UTC) | OFFSETS,
)


@given(INSTANTS)
def test_a_formatted_instant_reads_back(instant: datetime) -> None:
    """What is written is the same moment, in UTC."""
    read = parse_instant(format_instant(instant))
    assert read == instant
    assert read.tzinfo is UTC


@given(INSTANTS)
def test_an_offset_is_converted(instant: datetime) -> None:
    """Any offset of whole minutes names the moment it stands for."""
    assert parse_instant(instant.isoformat()) == instant


@given(INSTANTS, INSTANTS)
def test_compact_names_sort_by_time(one: datetime, other: datetime) -> None:
    """Sorting names of objects sorts them by second."""
    assert (one.replace(microsecond=0) < other.replace(microsecond=0)) == (format_compact(one) < format_compact(other))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-19", datetime(2026, 11, 19, tzinfo=UTC)),
        ("2026-11-19T02:03:04Z", datetime(2026, 11, 19, 2, 3, 4, tzinfo=UTC)),
        ("2026-11-19T02:03:04.5Z", datetime(2026, 11, 19, 2, 3, 4, 500_000, tzinfo=UTC)),
        ("2026-11-19T02:03:04.000001Z", datetime(2026, 11, 19, 2, 3, 4, 1, tzinfo=UTC)),
        ("2026-11-19T00:30:00+01:00", datetime(2026, 11, 18, 23, 30, tzinfo=UTC)),
        ("2026-11-19T00:30:00-05:30", datetime(2026, 11, 19, 6, 0, tzinfo=UTC)),
    ],
)
def test_instants_are_read(text: str, expected: datetime) -> None:
    """A day is its first moment, a fraction is kept, an offset is converted."""
    assert parse_instant(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-11-19T02:00:00", "zone"),
        ("2026-11-19T02:00:00.0000001Z", "six digits"),
        ("2026-02-30", "calendar"),
        ("2026-11-19T24:00:01Z", "calendar"),
        ("2026-11-19T02:00:00+24:00", "offset"),
        ("0001-01-01T00:00:00+01:00", "1 to 9999"),
        ("2026-11-19T02:00Z", "written"),
        ("2026-11-19Z", "written"),
        ("2026-11-19 02:00:00Z", "written"),
        ("20261119", "written"),
        ("٢٠٢٦-11-19", "written"),
        ("2026-11-19\n", "written"),
        ("yesterday", "written"),
        ("", "written"),
    ],
)
def test_what_is_no_instant_is_refused(text: str, reason: str) -> None:
    """The complaint says what to change."""
    with pytest.raises(ValueError, match=reason):
        parse_instant(text)


@pytest.mark.parametrize("write", [format_instant, format_compact])
def test_a_naive_datetime_is_not_written(write: object) -> None:
    """A moment without a zone is a mistake of ours and stops."""
    assert callable(write)
    with pytest.raises(ValueError, match="zone"):
        write(datetime.fromisoformat("2026-11-19"))


def test_instants_are_written_in_utc() -> None:
    """The zone is always Z; a fraction appears only when there is one."""
    instant = datetime(2026, 11, 19, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    assert format_instant(instant) == "2026-11-19T02:04:05Z"
    assert format_instant(instant.replace(microsecond=1200)) == "2026-11-19T02:04:05.001200Z"
    assert format_compact(instant.replace(microsecond=999_999)) == "20261119T020405Z"


@given(st.integers(min_value=0, max_value=86_400 * 36_500))
def test_a_formatted_duration_reads_back(seconds: int) -> None:
    """Writing and reading a duration changes nothing."""
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("6h", timedelta(hours=6)),
        ("30d", timedelta(days=30)),
        ("0d", timedelta(0)),
        ("PT6H", timedelta(hours=6)),
        ("P1D", timedelta(days=1)),
        ("P2W", timedelta(weeks=2)),
        ("PT1H30M", timedelta(minutes=90)),
        ("P1DT1S", timedelta(days=1, seconds=1)),
    ],
)
def test_durations_are_read(text: str, expected: timedelta) -> None:
    """The short form and ISO 8601 both work."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "30", "-1d", "1.5h", "1 h", "6H", "P", "PT", "P1DT", "P1M", "P1Y", "PT1.5S", "1h30m", "30d\n"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """No unit, no sign, no fraction, no unit of the calendar."""
    with pytest.raises(ValueError, match="written"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["999999999999d", "P999999999DT999999999H"])
def test_an_endless_duration_is_refused(text: str) -> None:
    """A number too large is a complaint, not a crash."""
    with pytest.raises(ValueError, match="longer"):
        parse_duration(text)


@pytest.mark.parametrize("duration", [timedelta(seconds=-1), timedelta(microseconds=1)])
def test_a_duration_that_could_not_be_read_back_is_not_written(duration: timedelta) -> None:
    """Only whole seconds from zero on have a spelling."""
    with pytest.raises(ValueError, match="whole number"):
        format_duration(duration)

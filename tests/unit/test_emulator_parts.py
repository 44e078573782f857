"""The small parts of the emulator: ticks, rhythm, circles, faults."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.emulator import Effect, Fault, FaultError, Faults, load_faults, ticks
from connectors.emulator.clock import Clock
from connectors.emulator.noise import Circles, Noise
from connectors.emulator.rhythm import Rhythm

INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


@given(INSTANTS, st.sampled_from([0, 3, 6, 7]))
def test_ticks_survive_their_text(instant: datetime, digits: int) -> None:
    """Text with enough digits means the same ticks; with fewer it is cut, not rounded."""
    exact = ticks.to_ticks(instant)
    parsed = ticks.parse(ticks.to_text(exact, digits))

    assert parsed == exact - exact % 10 ** (7 - digits)
    assert ticks.to_datetime(exact) == instant


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z"])
def test_what_is_no_instant(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r"not an instant|must be in"):
        ticks.parse(text)


@given(st.integers(1, 400), st.integers(0, 4 * 10**9))
def test_every_second_lies_in_its_slot(per_week: int, second: int) -> None:
    """Slots tile time without a gap."""
    rhythm = Rhythm(per_week)
    slot = rhythm.slot_at(second)

    assert rhythm.start_s(slot) <= second < rhythm.start_s(slot) + rhythm.width_s(slot) == rhythm.start_s(slot + 1)


@given(st.integers(1, 300), st.integers(1, 12), st.integers(0, 10**6))
def test_circles_divide_everybody(population: int, size: int, round_number: int) -> None:
    """In every round each member is in exactly one circle, and both ways of asking agree."""
    circles = Circles(Noise(3), "test", population)
    rows = [circles.circle(round_number, size, number).members for number in range(circles.count(size))]
    seen = [member for row in rows for member in row]

    assert sorted(seen) == list(range(population))
    for member in (0, population - 1):
        assert member in circles.of_member(round_number, size, member).members


def test_clock_stands_still_unless_it_ticks() -> None:
    """A frozen clock moves by hand only; a ticking one with the monotonic clock as well."""
    start, seconds = datetime(2026, 3, 2, tzinfo=UTC), [100.0]
    frozen, ticking = Clock(start), Clock(start, ticking=True, monotonic=lambda: seconds[0])
    seconds[0] = 160.0
    frozen.advance(timedelta(hours=1))
    ticking.advance(timedelta(hours=1))

    assert frozen.now == start + timedelta(hours=1)
    assert ticking.now == start + timedelta(hours=1, minutes=1)


def strikes(faults: Faults, count: int, **request: str) -> list[bool]:
    asked: dict[str, Any] = {"kind": "messages", "path": "/v1.0/users/x/messages", "mailbox": "m1", **request}
    return [faults.strike(**asked) is not None for _ in range(count)]


def test_fault_counts() -> None:
    """`after` lets requests pass, `every` hits each n-th of the rest, `times` ends it."""
    faults = Faults([Fault(after=2, every=3, times=2)])

    assert [number for number, hit in enumerate(strikes(faults, 20)) if hit] == [2, 5]


def test_fault_of_large_pages() -> None:
    """Only pages that ask for more; a request that does not say how many is none of them."""
    faults = Faults([Fault(page_above=100)])
    asked = {"kind": "messages", "path": "/v1.0/users/x/messages", "mailbox": "m1"}

    assert [faults.strike(**asked, page=page) is not None for page in (None, 100, 101)] == [False, False, True]


def test_fault_chooses_its_requests() -> None:
    """By kind, mailbox and path; the first rule that is due decides."""
    faults = Faults([Fault(kind="users"), Fault(mailbox="m2"), Fault(path="*/mailfolders/*", status=500)])

    assert strikes(faults, 1) == [False]
    assert strikes(faults, 1, kind="users") == [True]
    assert strikes(faults, 1, mailbox="m2") == [True]
    assert strikes(faults, 1, path="/v1.0/users/x/mailFolders/inbox/messages") == [True]


def test_fault_file(tmp_path: Path) -> None:
    """A YAML list of rules; an empty file is no rule."""
    file = tmp_path / "faults.yaml"
    file.write_text("- {kind: messages, status: 429, retry_after: 5, times: 1}\n- effect: reset\n", encoding="utf-8")
    faults = load_faults(file)
    first = faults.strike(kind="messages", path="/", mailbox=None)
    second = faults.strike(kind="messages", path="/", mailbox=None)

    assert first is not None
    assert (first.status, first.retry_after) == (429, 5)
    assert second is not None
    assert second.effect is Effect.RESET
    file.write_text("", encoding="utf-8")
    assert load_faults(file).strike(kind="messages", path="/", mailbox=None) is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("status: 500", "a list"),
        ("- 500", "a mapping"),
        ("- {stattus: 500}", "stattus"),
        ("- {effect: explode}", "explode"),
        ("- [", "not YAML"),
    ],
)
def test_mistakes_in_a_fault_file_are_named(tmp_path: Path, text: str, what: str) -> None:
    """The entry and the field are told."""
    file = tmp_path / "faults.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FaultError, match=what):
        load_faults(file)

"""Windows: they tile, and what is left of one after finished parts is exactly the rest."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.model import MICROSECOND, Window, are_adjacent, covered_until
from pipeline.plan import remaining

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
OFFSETS = st.integers(min_value=0, max_value=10**12).map(lambda us: EPOCH + us * MICROSECOND)
SPANS = st.integers(min_value=10**9, max_value=10**12).map(lambda us: us * MICROSECOND)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = draw(OFFSETS)
    return Window(start, start + draw(SPANS))


@given(windows(), SPANS)
def test_tiles_are_adjacent_and_cover_the_window(window: Window, span: timedelta) -> None:
    """Tiling loses no instant, repeats none, and no tile is longer than asked."""
    tiles = list(window.tiles(span))

    assert tiles[0].start == window.start
    assert tiles[-1].end == window.end
    assert are_adjacent(tiles)
    assert all(tile.end - tile.start <= span for tile in tiles)


@given(windows())
def test_halves_are_adjacent_and_cover_the_window(window: Window) -> None:
    """A divided window is two that meet."""
    halves = window.halves()
    assert halves is not None
    left, right = halves

    assert (left.start, left.end, right.end) == (window.start, right.start, window.end)


def test_a_window_of_one_microsecond_cannot_be_halved() -> None:
    """There is nothing between its ends."""
    assert Window(EPOCH, EPOCH + MICROSECOND).halves() is None


@given(windows(), st.lists(windows(), max_size=5))
def test_what_remains_and_what_is_done_cover_the_window_once(window: Window, done: list[Window]) -> None:
    """The rest touches no finished window, and together they leave no gap."""
    rest = list(remaining(window, done))

    assert all(each.end <= other.start or each.start >= other.end for each in rest for other in done)
    assert covered_until(window.start, [*rest, *done]) >= window.end


@given(windows(), SPANS)
def test_finished_windows_reach_as_far_as_they_meet(window: Window, span: timedelta) -> None:
    """A gap in the middle holds the watermark at the gap."""
    tiles = list(window.tiles(span))

    assert covered_until(window.start, tiles) == window.end
    for missing in range(len(tiles)):
        rest = tiles[:missing] + tiles[missing + 1 :]
        assert covered_until(window.start, rest) == tiles[missing].start

"""What was expected of a unit, held against what came."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.completeness import Comparison, Finding, Method, compare

NUMBERS = st.integers(0, 300)


@given(before=NUMBERS, after=NUMBERS, accounted=NUMBERS)
def test_no_difference_goes_unnamed(before: int, after: int, accounted: int) -> None:
    """It is nought, or explained by the second count, or unexplained; a result between the counts is explained."""
    found = compare(Method.COUNT, before=before, accounted=accounted, after=after)
    if min(before, after) <= accounted <= max(before, after):
        assert (found.changed_while_reading, found.unexplained) == (abs(before - accounted), 0)
    else:
        assert found.unexplained == min(abs(before - accounted), abs(after - accounted)) > 0
    assert found.changed_while_reading + found.unexplained == abs(before - accounted)


def test_a_reading_that_agrees_with_its_count_is_the_last() -> None:
    """Nothing is asked or read a second time."""
    comparison = Comparison(Method.COUNT)
    assert comparison.settled_by(expected=7, accounted=7, after=None)
    assert comparison.finding == Finding(Method.COUNT, 7)


def test_a_unit_is_read_twice_at_most() -> None:
    """A collection that ends too early every time stays unexplained."""
    comparison = Comparison(Method.COUNT)
    assert not comparison.settled_by(expected=7, accounted=3, after=7)
    assert comparison.settled_by(expected=7, accounted=3, after=7)
    assert comparison.finding == Finding(Method.COUNT, 7, unexplained=4)


def test_the_second_reading_is_held_against_the_first_count() -> None:
    """One message was deleted while the unit was read first: the second reading says so, and is whole."""
    comparison = Comparison(Method.COUNT)
    assert not comparison.settled_by(expected=7, accounted=6, after=6)
    assert comparison.settled_by(expected=6, accounted=6, after=None)
    assert comparison.finding == Finding(Method.COUNT, 7, changed_while_reading=1)


def test_a_second_reading_without_a_count_is_held_against_the_first() -> None:
    """A count that fails to come explains nothing."""
    comparison = Comparison(Method.COUNT)
    assert not comparison.settled_by(expected=7, accounted=6, after=None)
    assert comparison.settled_by(expected=None, accounted=6, after=None)
    assert comparison.finding == Finding(Method.COUNT, 7, unexplained=1)


def test_without_a_number_there_is_no_finding() -> None:
    """Nothing is dressed up as proof."""
    comparison = Comparison(Method.COUNT)
    assert comparison.settled_by(expected=None, accounted=6, after=None)
    assert comparison.finding is None

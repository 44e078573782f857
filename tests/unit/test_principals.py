"""Principals are kept packed, each once, in the order in which they were found."""

import tracemalloc
from uuid import UUID

import pytest

from pipeline.model import Principal, PrincipalKind
from pipeline.principals import Principals


def users(count: int) -> list[Principal]:
    return [Principal(PrincipalKind.USER, str(UUID(int=number * 7919))) for number in range(count)]


def test_principals_come_back_in_order_each_once() -> None:
    """A page that shifts brings some of the page before again."""
    found = users(1_000)

    packed = Principals(PrincipalKind.USER, [*found[:600], *found[400:]])

    assert len(packed) == 1_000
    assert list(packed) == found
    assert packed[-1] == found[-1]
    assert packed[10:13] == found[10:13]
    assert found[3] in packed
    with pytest.raises(IndexError):
        packed[1_000]


def test_ids_stay_out_of_the_representation() -> None:
    """They would reach tracebacks."""
    assert repr(Principals(PrincipalKind.USER, users(3))) == "Principals(user, 3)"


def test_a_principal_takes_little_memory() -> None:
    """They are there for the whole run."""
    tracemalloc.start()
    packed = Principals(PrincipalKind.USER, iter(users(20_000)))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert taken < 75 * len(packed)

"""Watermarks move forward only, and moving them twice is moving them once."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from pipeline.errors import StoreUnavailable
from pipeline.watermarks import Watermarks
from sinks.snapshot import StateVault, derive_key
from sinks.stores.memory import MemoryStore, Step
from tests.unit.test_snapshot import sealed_by_the_first_version

KEY = derive_key(b"a salt")
VAULT = StateVault(KEY)
AT = datetime(2026, 11, 19, tzinfo=UTC)
DAY = timedelta(days=1)
MAIL, CHATS = "mail_messages", "teams_chats"


def watermarks(state: MemoryStore) -> Watermarks:
    return Watermarks(state, VAULT, salt_fingerprint="f")


async def test_each_key_keeps_its_later_instant() -> None:
    """What is not moved stays, what is new joins, and nothing goes back."""
    marks = watermarks(MemoryStore())
    await marks.advance(VAULT.seal([((MAIL, "t~a"), AT), ((MAIL, "t~b"), AT), ((CHATS, "t~b"), AT)]))

    await marks.advance(
        VAULT.seal([((MAIL, "t~a"), AT + DAY), ((CHATS, "t~a"), AT), ((MAIL, "t~b"), AT - DAY), ((MAIL, "t~c"), AT)])
    )

    assert list((await marks.load()).items()) == [
        ((MAIL, "t~a"), AT + DAY),
        ((CHATS, "t~a"), AT),
        ((MAIL, "t~b"), AT),
        ((CHATS, "t~b"), AT),
        ((MAIL, "t~c"), AT),
    ]


async def test_what_has_moved_is_not_written_again() -> None:
    """A seal that is taken up again finds its watermarks where they are to be, or further."""
    written: list[str] = []

    async def watch(step: Step) -> None:
        if step.action == "replace" and step.when == "after":
            written.append(step.key)

    marks = watermarks(MemoryStore(hook=watch))
    await marks.advance(VAULT.seal([((MAIL, "t~a"), AT + DAY), ((MAIL, "t~b"), AT)]))
    await marks.advance(VAULT.seal([((MAIL, "t~a"), AT), ((MAIL, "t~b"), AT)]))
    await marks.advance(VAULT.seal([]))
    assert len(written) == 1


async def test_the_loop_is_free_while_watermarks_are_opened_and_sealed() -> None:
    """Those of a large tenant take seconds, in which the lease has to be renewed."""
    vault = Mock(wraps=VAULT)
    elsewhere = 0

    async def blocking(function: Callable[..., Any], *args: Any) -> Any:
        nonlocal elsewhere
        before = len(vault.mock_calls)
        result = await asyncio.to_thread(function, *args)
        elsewhere += len(vault.mock_calls) - before
        return result

    marks = Watermarks(MemoryStore(), vault, salt_fingerprint="f", blocking=blocking)
    await marks.advance(VAULT.seal([((MAIL, "t~a"), AT)]))
    assert dict(await marks.load()) == {(MAIL, "t~a"): AT}
    assert {call[0] for call in vault.mock_calls} >= {"seal", "open", "rows"}
    assert elsewhere == len(vault.mock_calls)


async def test_watermarks_of_the_first_version_are_moved_on() -> None:
    """Those of the state, and those of a run that an older version had decided: both were ordered by dataset."""
    state = MemoryStore()
    kept = {(MAIL, "t~b"): AT, (CHATS, "t~a"): AT}
    await state.create("watermarks/f", sealed_by_the_first_version(kept, KEY))
    decided = {(MAIL, "t~a"): AT + DAY, (CHATS, "t~a"): AT - DAY}

    await watermarks(state).advance(sealed_by_the_first_version(decided, KEY))
    await watermarks(state).advance(VAULT.seal([((MAIL, "t~b"), AT + DAY)]))

    assert dict(await watermarks(state).load()) == {
        (MAIL, "t~a"): AT + DAY,
        (CHATS, "t~a"): AT,
        (MAIL, "t~b"): AT + DAY,
    }


async def test_a_swap_that_is_lost_is_tried_again_and_then_given_up() -> None:
    """Somebody else changes them each time: nothing is overwritten, and the command ends."""
    state = MemoryStore()
    marks = watermarks(state)
    seen = 0

    async def disturb(step: Step) -> None:
        nonlocal seen
        if step.action == "replace" and step.when == "before":
            seen += 1
            await watermarks(state).advance(VAULT.seal([((MAIL, "t~other"), AT + seen * DAY)]))

    disturbed = watermarks(MemoryStore(state.bucket, hook=disturb))
    with pytest.raises(StoreUnavailable, match="keeps changing"):
        await disturbed.advance(VAULT.seal([((MAIL, "t~a"), AT)]))
    assert dict(await marks.load()) == {(MAIL, "t~other"): AT + seen * DAY}

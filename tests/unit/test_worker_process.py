"""A worker process: what it does only while it has a grant."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from pipeline.cli.worker import do, grant
from pipeline.errands import Answer, Errand, Grant, Lapsed, Trouble
from pipeline.model import RunKind
from pipeline.sealed_parts import Numbering


def errand(hire: str) -> bytes:
    return msgspec.msgpack.encode(
        Errand(
            hire=hire,
            run_id="20260302T030000Z-0001",
            kind=RunKind.RUN,
            connectors=("entra-id",),
            facts={},
            numbering=Numbering(first=1, step=1),
            lanes=1,
            units=b"",
        )
    )


def given(hire: str, *, seconds: float) -> bytes:
    return msgspec.msgpack.encode(Grant(hire=hire, until=datetime.now(UTC) + timedelta(seconds=seconds), workers=1))


async def answer(hire: str) -> Answer:
    told: Answer = msgspec.msgpack.decode(await do(errand(hire)), type=Answer)
    return told


async def test_nothing_is_done_without_a_grant() -> None:
    """An errand of an unknown hire, or of one whose grant is over, is given back."""
    assert await answer("nobody") == Lapsed()
    grant(given("late", seconds=-1))
    assert await answer("late") == Lapsed()


async def test_an_errand_is_done_once_and_its_error_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without settings says so; the same errand again is given back, and a grant that is over stays so."""
    monkeypatch.setenv("M365_EXPORT_CONFIG", "/nonexistent/m365-export.yaml")
    assert grant(given("here", seconds=30))
    told = await answer("here")
    assert isinstance(told, Trouble)
    assert await answer("here") == Lapsed()

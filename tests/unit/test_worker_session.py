"""A worker process: what it does only while it has a grant."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from pipeline.cli.worker_session import Sessions
from pipeline.model import RunKind
from pipeline.workers.messages import Answer, Expired, Failure, Grant, Heartbeat, Task
from pipeline.workers.sealed_parts import Numbering


@dataclass(slots=True)
class Process:
    """A worker process and what a coordinator says to it."""

    now: datetime = datetime(2026, 3, 2, 3, tzinfo=UTC)
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = Sessions(clock=lambda: self.now)

    def granted(self, session: str, *, seconds: float = 20) -> bool:
        """Whether the worker accepts a grant of so many seconds."""
        grant = Grant(session=session, until=self.now + timedelta(seconds=seconds), workers=1)
        heartbeat = self.sessions.grant(msgspec.msgpack.encode(grant))
        return msgspec.msgpack.decode(heartbeat, type=Heartbeat).accepted

    async def answer(self, session: str, *, task: str = "0123456789abcdef") -> Answer:
        encoded = msgspec.msgpack.encode(
            Task(
                id=task,
                session=session,
                run_id="20260302T030000Z-0001",
                kind=RunKind.RUN,
                connectors=("entra-id",),
                facts={},
                numbering=Numbering(first=1, step=1),
                slots=1,
                units=b"",
            )
        )
        told: Answer = msgspec.msgpack.decode(await self.sessions.do(encoded), type=Answer)
        return told


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    """A process whose settings cannot be read."""
    monkeypatch.setenv("M365_EXPORT_CONFIG", "/nonexistent/m365-export.yaml")
    return Process()


async def test_nothing_is_done_without_a_grant(process: Process) -> None:
    """A task of an unknown session, or of one whose grant is over, is given back."""
    assert await process.answer("nobody") == Expired()
    assert process.granted("here")
    process.now += timedelta(seconds=21)
    assert await process.answer("here") == Expired()


async def test_a_task_is_done_once_and_its_error_told(process: Process) -> None:
    """A worker without settings says so; the same task again, which an engine may send, is given back."""
    assert process.granted("here")
    assert isinstance(await process.answer("here"), Failure)
    assert await process.answer("here") == Expired()
    assert isinstance(await process.answer("here", task="another"), Failure)


async def test_a_grant_that_is_over_is_not_renewed(process: Process) -> None:
    """The coordinator may have given the work to others by then: it hears that it comes too late."""
    assert process.granted("here")
    await process.answer("here")
    process.now += timedelta(seconds=19)
    assert process.granted("here")
    process.now += timedelta(seconds=21)
    assert not process.granted("here")

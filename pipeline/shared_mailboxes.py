"""Which mailboxes of those in scope are a person's, where shared ones are not wanted (`scope.include_shared`).

Every mailbox is asked once, before anything else is read of it. One that cannot be asked is not read: it is skipped or
failed for the reason for which it did not answer. What was found is kept with the open run; a user who came later is
left to the next run.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from pipeline.digests import Digests
from pipeline.errors import DatasetDenied, FailReason, SkipReason, UnitFailed, UnitSkipped
from pipeline.model import Principal

MAILBOX_DATASETS = frozenset({"mail_messages", "mail_contacts", "calendar_events"})

Unread = Mapping[tuple[str, Principal], UnitSkipped | UnitFailed]
"""Which units are not read, by dataset and user, and why."""


class Mailboxes(Protocol):
    """What is asked of mailboxes."""

    async def is_shared(self, user: Principal) -> bool:
        """Whether the mailbox is no person's. Raises: UnitSkipped, UnitFailed, DatasetDenied, SourceRefused."""
        ...

    async def side_by_side(self, function: Callable[[Principal], Awaitable[None]], users: Sequence[Principal]) -> None:
        """Call `function` for each user, some at a time."""
        ...


async def settle_mailboxes(
    mailboxes: Mailboxes, users: Sequence[Principal], saved: bytes | None
) -> tuple[Unread, bytes]:
    """What is not read of `users`, and what to keep of it; `saved` is what an interrupted run kept.

    Raises:
        DatasetDenied, SourceRefused: no mailbox can be asked.
    """
    kept = _saved.decode(saved) if saved is not None else await _ask(mailboxes, users)
    personal = Digests.from_bytes(kept.personal, key=kept.key)
    came_later = _Reason(skipped=True, reason=SkipReason.OUT_OF_SCOPE, code="not_asked")
    unread = {
        (dataset, user): kept.reasons.get(user.id, came_later).error()
        for user in users
        if user.id not in personal
        for dataset in MAILBOX_DATASETS
    }
    return unread, _encode(kept)


async def _ask(mailboxes: Mailboxes, users: Sequence[Principal]) -> "_Saved":
    personal: list[str] = []
    reasons: dict[str, _Reason] = {}

    async def ask(user: Principal) -> None:
        try:
            if await mailboxes.is_shared(user):
                reasons[user.id] = _Reason(skipped=True, reason=SkipReason.OUT_OF_SCOPE, code="shared")
            else:
                personal.append(user.id)
        except DatasetDenied:
            raise
        except (UnitSkipped, UnitFailed) as error:
            reasons[user.id] = _Reason(isinstance(error, UnitSkipped), error.reason, error.code)

    await mailboxes.side_by_side(ask, users)
    key = Digests.new_key()
    return _Saved(key, Digests(personal, key=key).to_bytes(), reasons)


class _Reason(msgspec.Struct, frozen=True):
    skipped: bool
    reason: str
    code: str = ""

    def error(self) -> UnitSkipped | UnitFailed:
        if self.skipped:
            return UnitSkipped(SkipReason(self.reason), code=self.code)
        return UnitFailed(FailReason(self.reason), code=self.code)


class _Saved(msgspec.Struct):
    key: bytes
    personal: bytes
    reasons: dict[str, _Reason]


_encode = msgspec.msgpack.Encoder().encode
_saved = msgspec.msgpack.Decoder(_Saved)

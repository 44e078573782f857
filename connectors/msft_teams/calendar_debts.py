"""Organizers whose own calendars fail, from one run to the next.

Reports of attendance are read by window, of meetings that links lead to, and some links stand in nobody's calendar but
the organizer's own. While that one fails, others' links still lead to some of his meetings, whose reports are read: his
window moves on, past reports of those that only his own calendar shows. So it is kept from when on it was not read, and
his reports are read from there until it is, and they are.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from connectors.msft_teams.meeting_links import EVENTS
from pipeline.model import Principal, PrincipalKind
from pipeline.ports import Reach

REPORTS = "teams_attendance_reports"
MOST_TIME = timedelta(days=60)  # a calendar that never works again must not have ever more reports read each night


class CalendarDebts:
    """By user: the second since 1970 from which the own calendar was not read. Does not change."""

    def __init__(self, since: Mapping[str, int] | None = None) -> None:
        self._since = since or {}

    def starts(self) -> dict[tuple[str, Principal], datetime]:
        """From when on these users' reports have to be read."""
        return {
            (REPORTS, Principal(PrincipalKind.USER, user)): datetime.fromtimestamp(since, UTC)
            for user, since in self._since.items()
        }

    def after(self, users: Iterable[Principal], reach: Reach) -> "CalendarDebts":
        """What is owed after a run."""
        oldest = int((reach.end_of(REPORTS) - MOST_TIME).timestamp())
        owed: dict[str, int] = {}
        for user in users:
            since = self._since.get(user.id)
            if reach.has_failed(EVENTS, user) and (begin := reach.unread_from(EVENTS, user)) is not None:
                second = int(begin.timestamp())
                since = second if since is None else min(since, second)
            elif since is None or not reach.has_failed(REPORTS, user):
                continue
            owed[user.id] = max(since, oldest)
        return CalendarDebts(owed)

    def to_bytes(self) -> bytes | None:
        """For `from_bytes` in the next run; None where nothing is owed."""
        return msgspec.msgpack.encode(self._since) if self._since else None

    @classmethod
    def from_bytes(cls, data: bytes) -> "CalendarDebts":
        return cls(msgspec.msgpack.decode(data, type=dict[str, int]))

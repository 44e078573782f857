"""Whether everything was read that there is: what is known beforehand of a unit, held against what came.

How the number of a unit's records is known, by dataset:

    count        mail_messages: Graph counts what the unit's filter matches, in every folder that is read.
                 https://learn.microsoft.com/graph/query-parameters#count-parameter (checked 2026-11)
    enumeration  mailbox_settings and teams_teams: the plan made the unit for one object.
    none         all others. The directory counts from an index that lags behind what it lists; collections of Teams
                 tell how many records a page has; a calendar view is counted by overlap; contacts, chats, their
                 messages, call records and meetings are listed by the very requests whose end is in question.
                 https://learn.microsoft.com/graph/aad-advanced-queries (checked 2026-11)

Graph counts on the first page of a reading, which costs no request. It is asked again, by one request, only where what
came is not that number: mail that came or went meanwhile shows in the second count, a collection that ended too early
does not. Either way the unit is read once more, since pages that shift hide as many records as were deleted, and what
was read last is what counts.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import msgspec


class Method(StrEnum):
    """How the number of a unit's records is known."""

    COUNT = "count"
    ENUMERATION = "enumeration"
    NONE = "none"


class Finding(msgspec.Struct, frozen=True, array_like=True):
    """What a finished unit was held against; see `manifest.Completeness` for the numbers."""

    method: Method
    expected: int
    changed_while_reading: int = 0
    unexplained: int = 0


@dataclass(slots=True)
class Comparison:
    """What is expected of one unit and what came, over at most two readings."""

    method: Method
    finding: Finding | None = None
    _first: int | None = None  # expected, when the unit was read first
    _is_repeated: bool = False

    def settled_by(self, *, expected: int | None, accounted: int, after: int | None) -> bool:
        """Whether this reading is the last one; `finding` then says what it came to.

        `accounted` are the records of which it is known what became of them: exported, rejected, or belonging to
        another unit. `after` is the second count, None where there is none.
        """
        if self._first is None:
            self._first = expected
        if self._first is None:
            return True
        if after is None:
            after = self._first if expected is None else expected
        self.finding = compare(self.method, before=self._first, accounted=accounted, after=after)
        if expected == accounted or self._is_repeated:
            return True
        self._is_repeated = True
        return False


@lru_cache(maxsize=1_000)  # most units of a night had nothing new: they share one finding
def compare(method: Method, *, before: int, accounted: int, after: int) -> Finding:
    """The difference between what was expected and what came, as far as the second count explains it."""
    low, high = sorted((before, after))
    explained_by = min(max(accounted, low), high)
    return Finding(method, before, abs(before - explained_by), abs(explained_by - accounted))

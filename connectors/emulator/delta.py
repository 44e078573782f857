"""Delta rounds: what changed from one instant of the tenant's clock to another, told page by page.

https://learn.microsoft.com/graph/delta-query-overview (checked 2026-11). Nothing is kept for a client: a token holds
the instants of its round and the query that began it, and the model says what happened between them. Both instants
belong to the round, so what happened at the very instant of a token is told in two rounds: replays, as the service
has them. A record that vanishes or changes while a round is being paged is told in that round or in the next, or in
both; never in none.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from connectors.emulator.call import Call, Page, Reply
from connectors.emulator.paging import Round


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a round is about, in ticks: from `since` (None: the beginning of time) to `until`, both included."""

    since: int | None
    until: int

    def covers(self, *instants: int | None) -> bool:
        """Whether any of the instants lies in it."""
        return any(
            instant is not None and instant <= self.until and (self.since is None or self.since <= instant)
            for instant in instants
        )


def round_of(call: Call, *, generation: int = 0) -> tuple[Round, Span]:
    """The round that a request belongs to, and what it is about; one that begins reaches to the present."""
    now = call.tenant.clock.ticks
    query = {name: value for name, value in call.options.items() if name != "$deltatoken"}
    asked = call.place.round or Round(options=query)
    until = now if asked.until is None else asked.until
    return replace(asked, until=until, generation=generation), Span(since=asked.since, until=until)


def tell(
    call: Call,
    current: Round,
    walk: Callable[[int], Iterator[Mapping[str, Any] | None]],
    *,
    length: int,
    size: int,
    most: int | None = None,
) -> Reply:
    """The next page of a round, with a link to the page after it or, on the last one, to the next round.

    `walk` and `length` are those of `Call.page_of`. A round that has told `most` records ends; what it did not come to
    is never told.
    """
    left = size if most is None else most - current.told
    page = call.page_of(walk, length=length, size=min(size, left))
    told = current.told + len(page.records)
    if page.next_position is None or told == most:
        return Reply(page=replace(page, next_position=None, round=following(current)))
    return Reply(page=replace(page, round=replace(current, told=told)))


def following(current: Round) -> Round:
    """The round that a delta link leads to."""
    return replace(current, since=current.until, until=None, told=0)


def nothing(current: Round) -> Reply:
    """An empty round: the client knows all there is, and asks for what comes."""
    return Reply(page=Page(records=[], round=following(current)))


def tombstone(record_id: str, *, type_name: str | None = None, reason: str = "deleted") -> dict[str, Any]:
    """What is told of something that is gone; `changed` means that it may come back."""
    kind = {} if type_name is None else {"@odata.type": f"#{type_name}"}
    return {**kind, "id": record_id, "@removed": {"reason": reason}}

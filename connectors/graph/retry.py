"""When a refused request is sent again, how long after, and when a unit has had enough.

Three budgets bound a unit: retries of one page (failures of the service or the network), seconds behind
fences (a throttled mailbox is not a failing one), and the time of the whole unit. Tenacity drives the loop;
this module decides.
    https://learn.microsoft.com/graph/best-practices-concept#handling-expected-errors (checked 2026-11)
    https://learn.microsoft.com/graph/throttling#best-practices-to-handle-throttling (checked 2026-11)
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tenacity import RetryCallState

from connectors.graph.clock import GraphClock
from connectors.graph.errors import Disposition, End, Refusal, Row
from connectors.graph.throttle import Patience

LENIENT_AFTER = 2  # answers that are not JSON; then control characters inside strings are tolerated
SHRINK_AFTER = 2  # failures of a page, before half as many items are asked for
GROW_AFTER = 10  # pages in a row that came through, before twice as many are tried again
LONGEST_HEADER_S = 24 * 3600.0  # a Retry-After beyond a day is a broken header

THROTTLE_BUDGET_SPENT = Row(None, "throttle_budget_spent", Disposition.GIVE_UP, End.THROTTLED)
UNIT_DEADLINE_PASSED = Row(None, "unit_deadline_passed", Disposition.GIVE_UP, End.TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Budgets of one unit. Seconds are wall time, waiting included."""

    retries: int = 5  # of one page, on failures of service or network
    base_s: float = 4.0  # the first back-off lies between 0 and this, each later one in twice the range
    cap_s: float = 120.0
    throttled_s: float = 30 * 60.0
    longest_fence_s: float = 11 * 60.0  # ten minutes and their jitter; a longer one postpones the unit
    unit_s: float = 6 * 3600.0


class UnitBudget(Patience):
    """What is left to one unit: seconds behind fences, and time until its deadline."""

    def __init__(self, policy: RetryPolicy, clock: GraphClock) -> None:
        super().__init__(policy.throttled_s, longest_s=policy.longest_fence_s)
        self._clock = clock
        self._deadline_s = clock.monotonic() + policy.unit_s

    @property
    def is_over(self) -> bool:
        return self._clock.monotonic() >= self._deadline_s


class PageSize:
    """How many items to ask for.

    Half after repeated failures, or where a page was heavier than memory likes; back to the wish after a run of
    successes.
    """

    def __init__(self, wish: int, *, begin_with: int | None = None) -> None:
        self._wish = wish
        self._failures = 0
        self._successes = 0
        self._may_grow = True
        self.items = min(wish, begin_with or wish)

    @property
    def is_reduced(self) -> bool:
        return self.items < self._wish

    def failed(self) -> bool:
        """Whether that made it smaller."""
        self._successes = 0
        self._failures += 1
        return self._failures >= SHRINK_AFTER and self.halve()

    def halve(self) -> bool:
        """Half as many from now on; False where it is one already."""
        self._failures = self._successes = 0
        before, self.items = self.items, max(1, self.items // 2)
        return self.items < before

    def weighed(self, page_bytes: int, *, at_most: int) -> None:
        """A page had so many bytes; of the next one no more than `at_most` are wanted."""
        if page_bytes > at_most:
            self.halve()
        self._may_grow = 2 * page_bytes <= at_most

    def restore(self) -> None:
        """As wished for again: what made it small is behind us."""
        self._failures = self._successes = 0
        self.items = self._wish

    def succeeded(self) -> None:
        self._failures = 0
        if self.is_reduced:
            self._successes += 1
            if self._successes >= GROW_AFTER and self._may_grow:
                self._successes = 0
                self.items = min(self._wish, self.items * 2)


class SizeHabit:
    """What one collection has learnt of its page size, for the next ones of the dataset: they need not learn it anew.

    After a run of collections that came through with it, twice as many are tried again.
    """

    def __init__(self) -> None:
        self._items: int | None = None  # None: as wished for
        self._came_through = 0

    def page_size(self, wish: int) -> PageSize:
        """For a collection that is about to be read."""
        return PageSize(wish, begin_with=self._items)

    def note(self, size: PageSize) -> None:
        """A collection came through with this size at its end."""
        if size.is_reduced and (self._items is None or size.items < self._items):
            self._items = size.items
            self._came_through = 0
        elif self._items is not None:
            self._came_through += 1
            if self._came_through >= GROW_AFTER:
                self._came_through = 0
                self._items = self._items * 2 if size.is_reduced else None


class Tries:
    """The attempts at one page; `again` and `pause` are tenacity's questions."""

    def __init__(
        self,
        policy: RetryPolicy,
        budget: UnitBudget,
        size: PageSize | None,
        clock: GraphClock,
        *,
        is_resizable: bool = False,
    ) -> None:
        """`is_resizable`: the next attempt asks for as many items as `size` then says, whatever came before."""
        self._policy = policy
        self._budget = budget
        self._size = size
        self._is_resizable = is_resizable
        self._clock = clock
        self._failures = 0
        self._malformed = 0
        self.has_new_token = False
        self._last: Refusal | None = None

    @property
    def is_lenient(self) -> bool:
        """Whether an answer that is almost JSON shall do now."""
        return self._malformed >= LENIENT_AFTER

    def again(self, error: BaseException) -> bool:
        """Whether the request is sent once more after this refusal."""
        if not isinstance(error, Refusal):
            return False
        self._last = error
        if self._budget.is_over:
            return False
        match error.row.then:
            case Disposition.GIVE_UP | Disposition.RESTART:
                return False
            case Disposition.TOKEN:
                first = not self.has_new_token
                self.has_new_token = True
                return first
            case Disposition.THROTTLE:
                return True  # the admission decides, which knows the fence and what is left of the budget
            case Disposition.ISOLATE if self._size is not None and self._size.items > 1:
                return False  # to find the item is the caller's business; only what is left alone is asked for twice
            case Disposition.RETRY | Disposition.SMALLER_PAGE | Disposition.ISOLATE:
                return self._count(error.row)

    def pause(self, state: RetryCallState) -> float:
        """Seconds to wait before the next attempt; a throttled request waits behind its fence instead."""
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, Refusal) or error.row.then in (Disposition.THROTTLE, Disposition.TOKEN):
            return 0.0
        reach = min(self._policy.cap_s, self._policy.base_s * 2.0 ** (self._failures - 1))
        return error.row.pause_s + self._clock.random() * reach

    def spent(self, row: Row) -> Refusal:
        """The refusal for a spent budget, with the code and request-id of the last refused attempt."""
        last = self._last
        return Refusal(row, last.code if last else row.code, request_id=last.request_id if last else "")

    def _count(self, row: Row) -> bool:
        self._failures += 1
        if row.code == "malformed_json":
            self._malformed += 1
        if row.then is Disposition.SMALLER_PAGE and self._size is not None:
            is_smaller = self._size.failed()
            if is_smaller and self._is_resizable:
                self._failures = 1  # half the page is another question, with retries of its own
        return self._failures <= (self._policy.retries if row.retries is None else row.retries)


def parse_retry_after(text: str | None, *, now: datetime) -> float | None:
    """Seconds to wait: an integer, a decimal, an HTTP date, or a header that was sent twice (`120,120`).

    Negative values and past dates are 0; None where there is no header or it makes no sense.
    """
    if text is None:
        return None
    text = text.strip()
    seconds = _number(text.split(",")[0]) if text else None
    if seconds is None:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_HEADER_S)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number == number else None  # noqa: PLR0124 - "nan" is a float that equals nothing

"""Whether the tenant lets its messages be exported by `getAllMessages`, or has to be read thread by thread.

The export functions answer 200 requests a second, reading one chat or channel after the other 20:
https://learn.microsoft.com/graph/throttling-limits#microsoft-teams-service-limits (checked 2026-11). They may still
be refused although the role is there: 402 where metering was set up once, 403 where the tenant had to ask for
protected APIs, 400 or 404 in a cloud that does not have them.

They are asked without an upper bound, since a message that was edited later would otherwise miss the window of its
creation; whether a message belongs to the window is checked afterwards, by its creation and its last modification.
"""

from collections.abc import Callable
from random import Random

from config.instants import format_instant
from connectors.graph.client import GraphClient
from connectors.graph.errors import End, Refusal
from connectors.graph.limits import EXPORTED_MESSAGES_PAGE_ITEMS
from connectors.graph.paging import Request
from connectors.graph.sampling import Fill, Records, sample_window
from connectors.graph.traffic import TEAMS_EXPORT_TRAFFIC
from connectors.msft_teams.names import UNKNOWN_MEMBERS
from pipeline.model import MICROSECOND, Unit, Window

MODIFIED = "lastModifiedDateTime"
MOST_REPLACED = 3  # refusals that the other way made up for, without one answer: then nobody asks any more
PAYMENT_REQUIRED = 402
_MAYBE_NOT_OFFERED = frozenset({End.FORBIDDEN, End.ITEM_GONE, End.MAYBE_GONE, End.BAD_REQUEST})


class ExportFunction:
    """One of the functions, and what a run has learnt about it."""

    def __init__(self, path: Callable[[str], str]) -> None:
        """`path`: of the function, for the id of a user or team."""
        self._path = path
        self._fill = Fill()
        self._has_answered = False
        self._wants_payment = False
        self._replaced = 0

    def request(self, unit: Unit) -> Request:
        """What was written or changed since the unit's window began."""
        return self._request(unit, changed_since(read_window(unit)))

    async def sample(self, client: GraphClient, unit: Unit, *, chance: Random) -> Records:
        """From the start of the window until now, as a run asks. Raises: Refusal, CollectionBroken."""
        window = read_window(unit)
        return await sample_window(
            client,
            Window(window.start, max(client.now(), window.end)),
            lambda part: self._request(unit, f"{changed_since(part)} and {MODIFIED} lt {format_instant(part.end)}"),
            page_items=EXPORTED_MESSAGES_PAGE_ITEMS,
            fill=self._fill,
            budget=client.budget(),
            chance=chance,
        )

    @property
    def is_offered(self) -> bool:
        """Whether to ask it; until it has refused often enough the answer is yes."""
        return not self._wants_payment and (self._has_answered or self._replaced < MOST_REPLACED)

    @staticmethod
    def may_be_replaced(refusal: Refusal) -> bool:
        """Whether the other way may give what was refused. A missing role would be missing there, too."""
        return refusal.status == PAYMENT_REQUIRED or refusal.row.end in _MAYBE_NOT_OFFERED

    def answered(self) -> None:
        self._has_answered = True

    def replaced(self, refusal: Refusal) -> None:
        """The other way gave what was refused, so it was the function, not the user or team that was asked for."""
        self._replaced += 1
        self._wants_payment |= refusal.status == PAYMENT_REQUIRED

    def _request(self, unit: Unit, condition: str) -> Request:
        return Request(
            path=self._path(unit.principal.id),
            query={"$filter": condition},
            traffic=TEAMS_EXPORT_TRAFFIC,
            prefer=UNKNOWN_MEMBERS,
            page_items=EXPORTED_MESSAGES_PAGE_ITEMS,
        )


def changed_since(window: Window) -> str:
    """The filter for what was written or changed since the window began."""
    return f"{MODIFIED} gt {format_instant(window.start - MICROSECOND)}"


def read_window(unit: Unit) -> Window:
    """The window of a unit of messages."""
    if unit.window is None:
        raise ValueError("messages are read by window")
    return unit.window

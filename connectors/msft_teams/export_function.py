"""Whether the tenant lets its messages be exported by `getAllMessages`, or has to be read thread by thread.

The export functions answer 200 requests a second, reading one chat or channel after the other 20:
https://learn.microsoft.com/graph/throttling-limits#microsoft-teams-service-limits (checked 2026-11). They may still
be refused although the role is there: 402 where metering was set up once, 403 where the tenant had to ask for
protected APIs, 400 or 404 in a cloud that does not have them.
"""

from connectors.graph.errors import End, Refusal

MOST_REPLACED = 3  # refusals that the other way made up for, without one answer: then nobody asks any more
PAYMENT_REQUIRED = 402
_MAYBE_NOT_OFFERED = frozenset({End.FORBIDDEN, End.ITEM_GONE, End.MAYBE_GONE, End.BAD_REQUEST})


class ExportFunction:
    """What one run has learnt about one of the functions."""

    def __init__(self) -> None:
        self._has_answered = False
        self._wants_payment = False
        self._replaced = 0

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

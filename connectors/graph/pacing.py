"""How long Microsoft's limits, and our own, hold a number of requests up.

Asked of the same paces that hold a run back: when may the last of so many requests go? Limits of a single mailbox,
chat or team are left out; they hold nobody else up, and a run works on others meanwhile.
"""

from collections import Counter
from collections.abc import Mapping

from connectors.graph.budgets import Budgets, Paces
from connectors.graph.traffic import Draw, Limit, Service
from pipeline.ports import RequestKind

IN_FLIGHT = "in flight"


class BudgetPacing:
    """A `pipeline.forecast.Pacing`."""

    def __init__(self, budgets: Budgets, *, lanes: int) -> None:
        """`lanes`: units that a run reads at the same time, whatever the service."""
        self._budgets = budgets
        self._lanes = lanes

    def seconds(self, requests: Mapping[RequestKind, float], *, answer_s: float) -> Mapping[str, float]:
        """By the name of the limit: Microsoft's rates, and the answers that are waited for at the same time."""
        paces = Paces(self._budgets)
        seconds: dict[str, float] = {}
        by_service: Counter[str] = Counter()
        for kind, count in requests.items():
            by_service[kind.service] += count  # type: ignore[assignment]  # expected numbers, not whole ones
            for limit, units in kind.draws:
                draw = Draw(Limit(limit), units=units * count)
                seconds[limit] = max(seconds.get(limit, 0.0), paces.reserve(draw, now_s=0.0))
        for service, count in by_service.items():
            places = min(self._budgets.in_flight(Service(service)), self._lanes)
            seconds[f"{service} {IN_FLIGHT}"] = count * answer_s / places
        seconds[f"mailboxes {IN_FLIGHT}"] = sum(by_service.values()) * answer_s / self._lanes
        return seconds

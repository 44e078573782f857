"""What was asked of the emulator, so that a test can judge a client's manners."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Counters:
    """Counts since the start or the last reset. Kinds are those of the endpoints, such as `messages` or `token`."""

    requests: Counter[str] = field(default_factory=Counter)
    users: Counter[str] = field(default_factory=Counter)  # requests about one user, by user id
    records: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)  # "429 messages"
    without_select: Counter[str] = field(default_factory=Counter)  # asked for everything where $select was possible
    max_in_flight: dict[str, int] = field(default_factory=dict)  # per mailbox, by user id
    in_flight: Counter[int] = field(default_factory=Counter)  # how many requests to Graph were open, at each arrival
    inside_fence: int = 0  # requests to a scope that had been told to wait and whose time was not over
    faults: int = 0
    bytes_sent: int = 0

    @property
    def median_in_flight(self) -> int:
        """So many requests to Graph were open at least half of the times that one came; 0 where none came."""
        arrivals = sorted(self.in_flight.elements())
        return arrivals[len(arrivals) // 2] if arrivals else 0

    @property
    def requests_total(self) -> int:
        """All requests to Graph and to the token service."""
        return self.requests.total()

    def as_json(self) -> dict[str, Any]:
        """Everything, for the control endpoint."""
        return {
            "requests": dict(self.requests),
            "requests_total": self.requests_total,
            "users": dict(self.users),
            "records": dict(self.records),
            "refusals": dict(self.refusals),
            "without_select": dict(self.without_select),
            "max_in_flight": dict(self.max_in_flight),
            "in_flight": {str(open_now): count for open_now, count in sorted(self.in_flight.items())},
            "inside_fence": self.inside_fence,
            "faults": self.faults,
            "bytes_sent": self.bytes_sent,
        }

    def reset(self) -> None:
        """Begin anew."""
        fresh = Counters()
        for name in fresh.__slots__:
            setattr(self, name, getattr(fresh, name))

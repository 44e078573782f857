"""Next links and delta links: opaque, signed, and written otherwise than the request was.

https://learn.microsoft.com/graph/paging (checked 2026-11): a next link embeds the query, not the headers, and is to
be followed as it stands. Here every changed character shows: a link that was edited, cut, decoded or encoded again
is refused. The links of a delta query show nothing of the query, which is in their token
(https://learn.microsoft.com/graph/delta-query-overview, checked 2026-11).
"""

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from urllib.parse import quote

_SKIP, _DELTA = "$skiptoken=", "$deltatoken="
_TOKEN = re.compile(r"skiptoken=|deltatoken=(?!(?:latest)?(?:&|$))", re.IGNORECASE)  # two delta tokens are no links
_SIGNATURE_CHARACTERS = 32


class BrokenLink(ValueError):
    """The link is not one that was given out, or not as it was given out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round of a delta query, in ticks of the tenant's clock: `until` is None before it has begun.

    `since` is None in the first round; `told` counts the records so far; `generation` is of a mailbox's sync state.
    """

    since: int | None = None
    until: int | None = None
    told: int = 0
    generation: int = 0
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page begins. `after_empty` keeps empty pages from repeating; `issued_at` is the tenant's time."""

    position: int = 0
    after_empty: bool = False
    issued_at: float = 0.0
    round: Round | None = None

    @property
    def begins_round(self) -> bool:
        """A delta link led here."""
        return self.round is not None and self.round.until is None


class Links:
    """Writes and reads next links for one server."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def write(self, base: str, path: str, options: Mapping[str, str], place: Place) -> str:
        """The link to the page that begins at `place`; `path` is as the service spells it, already encoded."""
        shown = query_of(options)
        payload = urlsafe_b64encode(json.dumps(asdict(place)).encode()).decode().rstrip("=")
        mark = _DELTA if place.begins_round else _SKIP
        target = f"{path}?{shown}{'&' if shown else ''}{mark}{payload}%2B"
        return f"{base}{target}{self._signature(target)}%3d"

    def read(self, target: str) -> Place | None:
        """The place in a requested target, None where it has no token. Raises BrokenLink."""
        if _TOKEN.search(target) is None:
            return None
        if not target.endswith("%3d"):
            raise BrokenLink("changed at the end")
        signed, signature = target[: -3 - _SIGNATURE_CHARACTERS], target[-3 - _SIGNATURE_CHARACTERS : -3]
        if not hmac.compare_digest(self._signature(signed).encode(), signature.encode()):
            raise BrokenLink("changed")
        payload = signed[signed.rindex("token=") + len("token=") : -3]
        place = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return Place(**{**place, "round": place["round"] and Round(**place["round"])})

    def _signature(self, target: str) -> str:
        return hmac.digest(self._secret, target.encode(), "sha256").hex()[:_SIGNATURE_CHARACTERS]


def query_of(options: Mapping[str, str]) -> str:
    """The options as the service writes them into a link."""
    return "&".join(f"{name}={_encoded(value)}" for name, value in options.items())


def _encoded(value: str) -> str:
    """Percent-encoded with small letters, as the service does it."""
    return re.sub("%..", lambda match: match[0].lower(), quote(value, safe="$,()'"))

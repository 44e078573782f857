"""Which URLs may be asked for: our own requests, and next links that lead to the same place.

A bearer token opens the whole tenant, so it travels to the configured scheme, host and port only. Next links
are opaque and are followed byte for byte: Microsoft changes key syntax, casing and parameter names in them.
    https://learn.microsoft.com/graph/paging (checked 2026-11)
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

from yarl import URL

from connectors.graph.errors import fault

API_VERSION = "v1.0"
_NEVER_IN_A_LINK = re.compile(r"[\x00-\x20\\\x7f]")  # parsers disagree about them: the door to another host


class Links:
    """Builds and checks URLs of one Graph endpoint."""

    def __init__(self, graph: str, *, version: str = API_VERSION) -> None:
        """`graph` is scheme, host and optionally port: https, or plain http on this machine."""
        self._origin = URL(graph).origin()
        self._version = version

    def first(self, path: str, query: Mapping[str, str]) -> URL:
        """The URL of a request of ours; `path` comes from `segments`, the query's values are encoded here."""
        options = "&".join(f"{key}={quote(value, safe=_SAFE_IN_QUERY)}" for key, value in query.items())
        text = f"{self._origin}/{self._version}/{path}" + (f"?{options}" if options else "")
        return URL(text, encoded=True)

    def following(self, link: str) -> URL:
        """The URL of a next link, byte for byte.

        Raises:
            Refusal: the link leads elsewhere, or names no user (`users//`, a known fault of the service).
        """
        # A documented sample of the call records API carries this marker inside its path.
        link = link.replace("/$metadata#", "/", 1)
        if _NEVER_IN_A_LINK.search(link):
            raise fault("foreign_next_link")
        try:
            url = URL(link, encoded=True)
            is_ours = (
                url.scheme == self._origin.scheme
                and (url.host or "").lower() == (self._origin.host or "").lower()
                and url.port == self._origin.port
                and url.user is None
                and url.password is None
                and not url.raw_fragment
                and url.raw_path.lower().startswith(f"/{self._version}/".lower())
                and "/../" not in url.raw_path
            )
        except ValueError:
            raise fault("foreign_next_link") from None
        if not is_ours:
            raise fault("foreign_next_link")
        if "users//" in url.raw_path.lower():
            raise fault("next_link_without_user")
        return url


_SAFE_IN_QUERY = "$,:/()'"  # allowed as they are in a query, and Graph's documents show them plainly


def segments(*parts: str) -> str:
    """A path of which each part is one segment: identifiers are percent-encoded, slashes included."""
    return "/".join(quote(part, safe="") for part in parts)

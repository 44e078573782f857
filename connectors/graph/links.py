"""Which URLs may be asked for: our own requests, and next links that lead to the same place.

A bearer token opens the whole tenant, so it travels to the configured scheme, host and port only. Next links
are opaque and are followed byte for byte: Microsoft changes key syntax, casing and parameter names in them. But
never the identifiers in their path: a link to someone else's data would put it under the wrong owner.
    https://learn.microsoft.com/graph/paging (checked 2026-11)
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from yarl import URL

from connectors.graph.errors import fault

API_VERSION = "v1.0"
_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
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

    def following(self, link: str, *, path: str) -> URL:
        """The URL of a next link, byte for byte; `path` is that of the request whose answer held it.

        Raises:
            Refusal: the link leads elsewhere (to another host, tenant, user), or names no user (`users//`, a known
                fault of the service).
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
                and ".." not in unquote(url.raw_path).split("/")
            )
        except ValueError:
            raise fault("foreign_next_link") from None
        if not is_ours:
            raise fault("foreign_next_link")
        if "users//" in url.raw_path.lower():
            raise fault("next_link_without_user")
        if _guids(url.raw_path) != _guids(path):
            raise fault("foreign_next_link")
        return url


def _guids(path: str) -> set[str]:
    """The identifiers of users, groups, teams, calls: of whatever stands behind the form of a path."""
    return {guid.lower() for guid in _GUID.findall(unquote(path))}


_SAFE_IN_QUERY = "$,:/()'"  # allowed as they are in a query, and Graph's documents show them plainly


def segments(*parts: str) -> str:
    """A path of which each part is one segment: identifiers are percent-encoded, slashes included."""
    return "/".join(quote(part, safe="") for part in parts)

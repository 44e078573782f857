"""What an error body of Graph says: codes, messages, names of permissions.

`innerError` (in several spellings) nests, `details` is a list, `code` may be empty, Teams puts JSON text
inside `message`, gateways send HTML or nothing under a JSON content type.
https://learn.microsoft.com/graph/errors (checked 2026-11)
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

DEEPEST_ERROR = 8  # levels of innerError followed; real answers have up to four
_CODE_KEYS = ("code", "errorcode")
_INNER_KEYS = ("innererror", "details", "error")
_REQUEST_ID = re.compile(r"[0-9A-Fa-f-]{1,64}")
_CODE = re.compile(r"(?!.*[0-9A-Fa-f]{8}-)(?!.*[0-9]{5})[A-Za-z][A-Za-z0-9_.-]{0,63}")
_NEEDED_ROLES = re.compile(r"requires one of '([^']*)'", re.IGNORECASE)
_ROLE = re.compile(r"[A-Z][A-Za-z-]*(?:\.[A-Z][A-Za-z]*)+")


@dataclass(frozen=True, slots=True)
class Stated:
    """What an error body says: its codes, outermost first; its messages in lower case; the roles it names."""

    codes: tuple[str, ...]
    text: str = field(repr=False)
    roles: tuple[str, ...]

    @classmethod
    def of(cls, body: bytes) -> "Stated":
        codes: list[str] = []
        messages: list[str] = []
        for key, text in _texts(_decoded(body), DEEPEST_ERROR):
            (codes if key in _CODE_KEYS else messages).append(text)
        text = "\n".join(messages)
        named = _NEEDED_ROLES.search(text)
        return cls(
            tuple(code for code in codes if code),
            text.lower(),
            tuple(_ROLE.findall(named[1])) if named else (),
        )


def _decoded(text: bytes | str) -> object:
    try:
        decoded: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # gateways send HTML, or nothing, under a JSON content type
    return decoded


def _texts(node: object, levels: int) -> Iterator[tuple[str, str]]:
    """Codes and messages of an error object and of those inside it, outermost first."""
    if levels == 0:
        return
    if isinstance(node, list):
        for item in node:
            yield from _texts(item, levels - 1)
        return
    if not isinstance(node, dict):
        return
    fields = {str(key).lower(): value for key, value in node.items()}
    for key in (*_CODE_KEYS, "message"):
        if isinstance(value := fields.get(key), str):
            yield key, value
            if key == "message" and value.startswith("{"):  # Teams puts JSON text inside the message
                yield from _texts(_decoded(value), levels - 1)
    for key in _INNER_KEYS:
        yield from _texts(fields.get(key), levels - 1)


def checked_request_id(text: str) -> str:
    return text if _REQUEST_ID.fullmatch(text) else ""


def safe_code(code: str) -> str:
    """The code where it looks like one; a text that could hold anything else is not repeated."""
    return code if _CODE.fullmatch(code) else "unreadable_code"

"""Looks into an access token, for diagnosis only: Microsoft may issue tokens that nobody else can read.

https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference (checked 2026-11)
"""

import base64
import binascii
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says of itself. Not verified: whoever asks for data has it verified by Graph."""

    roles: frozenset[str]
    audience: str
    tenant_id: str
    client_id: str


class _Payload(msgspec.Struct):
    roles: list[str] = []
    aud: str = ""
    tid: str = ""
    appid: str = ""


def read_claims(token: str) -> Claims | None:
    """The claims of a token, or None where it is opaque to us."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        payload = msgspec.json.decode(text, type=_Payload)
    except (binascii.Error, ValueError):  # msgspec's errors are ValueErrors
        return None
    return Claims(frozenset(payload.roles), payload.aud, payload.tid, payload.appid)

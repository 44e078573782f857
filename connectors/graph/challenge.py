"""Claims challenges: Graph takes a token back before its time, and says what a new one has to prove.

Continuous Access Evaluation sends them, with status 401, when a service principal was disabled, deleted or found
risky, and only to clients that announced in their token request that they understand. An export does not announce
it unless told to: a token lives an hour, and a principal that is disabled stops at the next one anyway. A challenge
that comes is answered all the same, once: with one token request that carries the claims.
https://learn.microsoft.com/entra/identity-platform/claims-challenge (checked 2026-11)
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable

import msgspec

LONGEST_CLAIMS = 4_096  # characters; real ones have about a hundred
_PARAMETER = re.compile(r'(\w+)\s*=\s*"([^"]*)"')


def demanded_claims(challenges: Iterable[str]) -> str:
    """The JSON that a new token request has to carry, from the headers WWW-Authenticate; "" where none asks for any."""
    for challenge in challenges:
        parameters = {name.lower(): value for name, value in _PARAMETER.findall(challenge)}
        if parameters.get("error") == "insufficient_claims":
            return _decoded(parameters.get("claims", ""))
    return ""


def _decoded(text: str) -> str:
    if len(text) > LONGEST_CLAIMS:
        return ""
    try:
        decoded = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_").decode()
        msgspec.json.decode(decoded, type=dict)
    except (Base64Error, ValueError):  # no UTF-8, no JSON, no object: an ordinary 401
        return ""
    return decoded

"""JSON web tokens as the token service needs them: signing, taking apart, and verifying.

RFC 7515 and 7518: RS256 is RSASSA-PKCS1-v1_5 and PS256 is RSASSA-PSS, both with SHA-256; HS256 is an HMAC.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart, not yet verified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def take_apart(text: str) -> Token:
    """The parts of a compact token. Raises ValueError."""
    header, claims, signature = text.split(".")
    return Token(
        json.loads(_decoded(header)), json.loads(_decoded(claims)), f"{header}.{claims}".encode(), _decoded(signature)
    )


def sign_with_secret(claims: Mapping[str, Any], *, secret: bytes) -> str:
    """An HS256 token."""
    signed = _signed_part({"typ": "JWT", "alg": "HS256"}, claims)
    return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def sign_with_key(claims: Mapping[str, Any], *, key: rsa.RSAPrivateKey, header: Mapping[str, str]) -> str:
    """An RS256 token."""
    signed = _signed_part({"typ": "JWT", "alg": "RS256", **header}, claims)
    return f"{signed}.{_encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def is_signed_with_key(token: Token, *, key: rsa.RSAPublicKey) -> bool:
    """Whether an RS256 or PS256 signature is right; any other algorithm is not."""
    paddings = {
        "RS256": padding.PKCS1v15(),
        "PS256": padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO),
    }
    chosen = paddings.get(str(token.header.get("alg")))
    if chosen is None:
        return False
    try:
        key.verify(token.signature, token.signed, chosen, hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def is_thumbprint(header: Mapping[str, Any], der: bytes) -> bool:
    """Whether a token's header names this certificate, by `x5t#S256` or by the older `x5t`."""
    return str(header.get("x5t#S256")).rstrip("=") == _encoded(sha256(der).digest()) or str(header.get("x5t")).rstrip(
        "="
    ) == _encoded(sha1(der, usedforsecurity=False).digest())


def _signed_part(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    return f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))

"""Pseudonyms: one function from an identifier and a salt to a token, the same as Psoxy's for the same salt.

A token is `t~` and the base64url text of SHA-256(canonical identifier + salt); a recognised mail address
keeps its domain behind an `@`. A reversible token, `p~`, carries the same hash followed by the original
value, encrypted with AES-256-CBC whose initial vector is the head of the hash. Equal input therefore gives
equal output, and both kinds join on their hash.

Rests on FIPS 180-4 (SHA-256), RFC 4648 section 5 (base64url), NIST SP 800-38A (CBC), RFC 8018 section 5.2
(PBKDF2).
https://docs.worklytics.co/psoxy (checked 2026-11)
"""

import base64
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import cached_property
from hashlib import pbkdf2_hmac, sha256
from typing import Literal, get_args

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from pipeline.errors import ConfigurationError, ExportError
from pipeline.sanitize.address import Address, parse_address, parse_address_list, plain_address
from pipeline.sanitize.java_text import is_blank, json_text, number_text, utf8
from pipeline.sanitize.token_cache import TokenCache

Canonicalization = Literal["strict", "ignore-dots"]
DomainHandling = Literal["preserve", "tokenize", "encrypt", "redact"]

DEFAULT_CACHE_ENTRIES = 200_000  # at about 250 bytes each: 50 MB when full

HASH = 43  # characters of a hash in a token
ENCODED_HASH = 44  # the same with what pads it to whole groups of base64

_PBKDF2_ITERATIONS = 65_536
_FINGERPRINT_SUFFIX = "f33c366c-ae91-4819-b221-f9794ebb8145"  # fixed by Psoxy's health check
_TOKEN = re.compile(r"(?:t~[A-Za-z0-9_\-]{43}|p~[A-Za-z0-9_\-]{43,})(?:@[A-Za-z0-9._~\-]+)?")
_KINDS = {
    bool: "boolean",
    int: "number",
    float: "number",
    Decimal: "number",
    dict: "object",
    list: "array",
    str: "string",
}


class UnexpectedType(ExportError):
    """A value of a JSON type, `kind`, that has no pseudonym. It has to be dropped, never passed on."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"no pseudonym for a value of type {kind}")
        self.kind = kind


class Pseudonymizer:
    """Makes every form of pseudonym under one salt. Safe to share between threads; its repr shows no secret.

    Values are JSON values: None, empty and blank text have no pseudonym, numbers count as their Java text.
    Methods that need the encryption key raise ConfigurationError without one.
    """

    def __init__(
        self,
        *,
        salt: str,
        encryption_key: str | None = None,
        canonicalization: Canonicalization = "strict",
        domains: DomainHandling = "preserve",
        domain_salt: str | None = None,
        domain_key: str | None = None,
        ip_salt: str | None = None,
        ip_key: str | None = None,
        cache_entries: int = DEFAULT_CACHE_ENTRIES,
    ) -> None:
        if not salt:
            raise ConfigurationError("privacy.salt: must not be empty")
        if canonicalization not in get_args(Canonicalization) or domains not in get_args(DomainHandling):
            raise ValueError("unknown canonicalization or domain handling")
        if domains == "encrypt" and not (domain_key or encryption_key):
            raise ConfigurationError("privacy.encryption_key: needed to encrypt mail domains")
        domain_salt = domain_salt or salt
        ip_salt = ip_salt or salt
        self._canonicalization = canonicalization
        self._domains = domains
        self._salt = utf8(salt)
        self._domain_salt = utf8(domain_salt)
        self._ip_salt = utf8(ip_salt)
        self._seal = _Seal(encryption_key, salt=self._salt)
        self._domain_seal = _Seal(domain_key or encryption_key, salt=self._domain_salt)
        self._ip_seal = _Seal(ip_key or encryption_key, salt=self._ip_salt)
        self._cache = TokenCache(entries=cache_entries)

    def __repr__(self) -> str:
        return f"Pseudonymizer(canonicalization={self._canonicalization!r}, domains={self._domains!r})"

    @property
    def can_reverse(self) -> bool:
        """Whether an encryption key was given."""
        return self._seal.has_key

    def token(self, value: object) -> str | None:
        """`t~…`, with `@domain` for a mail address; None for null and blank text. Raises UnexpectedType."""
        text = _text_of(value)
        if text is None:
            return None
        canonical, suffix = self._canonical(text)
        return f"t~{_base64url(_hash(canonical, self._salt))}{suffix}"

    def canonical(self, text: str) -> str:
        """What is hashed of a text: texts with one canonical form have one pseudonym."""
        return self._canonical(text)[0]

    def tokens(self, values: Sequence[str | None]) -> list[str | None]:
        """`token` of each value, in order; a value met before comes from the cache."""
        found = self._cache.get(values)
        missing = {value for value, token in zip(values, found, strict=True) if token is None}
        missing.discard(None)
        if not missing:
            return found
        fresh = self._hash_all(missing)
        self._cache.add(fresh)
        if len(fresh) == len(values):  # nothing was known, nothing came twice: the usual first page
            return list(map(fresh.get, values))
        return [token or fresh.get(value) for value, token in zip(values, found, strict=True)]

    def remembered_token(self, text: str) -> str | None:
        """`token` of a text that is part of many others, such as a member's id in the ids of his chats."""
        return self.tokens((text,))[0]

    def tokens_once(self, values: Sequence[str | None]) -> list[str | None]:
        """`token` of values that will hardly come again, such as record ids: they would only crowd the cache."""
        return list(map(self._hash_all(values).get, values))

    def reversible(self, value: object) -> str | None:
        """`p~…`: the hash of `token`, followed by the value as written, encrypted. Raises UnexpectedType."""
        text = _text_of(value)
        if text is None:
            return None
        canonical, suffix = self._canonical(text)
        return self._sealed(canonical, text) + suffix

    def raw_tokens(self, values: Sequence[str | None]) -> list[str | None]:
        """`raw_token` of each value, in order; nothing about them is remembered."""
        texts = [value for value in values if value is not None and not is_blank(value)]
        salt = self._salt
        hashes = _base64url_all([sha256(utf8(text) + salt).digest() for text in texts])
        tokens: dict[str | None, str] = {text: f"t~{digest}" for text, digest in zip(texts, hashes, strict=True)}
        return list(map(tokens.get, values))

    def encoded_hashes(self, texts: Sequence[bytes]) -> bytes:
        """`ENCODED_HASH` characters for each UTF-8 text as it stands, of which the first `HASH` are its token's."""
        salt = self._salt
        return _base64url_groups([sha256(text + salt).digest() for text in texts])

    def raw_token(self, text: str) -> str | None:
        """`t~…` of the text as it stands: never taken for an address, no domain. None for blank text."""
        return None if is_blank(text) else f"t~{_base64url(_hash(text, self._salt))}"

    def hash_only(self, value: object) -> str | None:
        """The 43 characters of the hash, without prefix and domain. Raises UnexpectedType."""
        text = _text_of(value)
        return None if text is None else _base64url(_hash(self._canonical(text)[0], self._salt))

    def as_json(self, value: object, *, include_original: bool = False, include_reversible: bool = False) -> str:
        """The text of a JSON object: `domain` of an address, `hash`, `original` and `reversible` on demand.

        Null and blank text give the text `null`. Raises UnexpectedType.
        """
        text = _text_of(value)
        if text is None:
            return "null"
        canonical, suffix = self._canonical(text)
        members = {"domain": suffix[1:]} if suffix else {}
        members["hash"] = _base64url(_hash(canonical, self._salt))
        if include_original:
            members["original"] = text
        if include_reversible:
            members["reversible"] = self._sealed(canonical, text) + suffix
        return json_text(members)

    def tokenize(self, value: object, pattern: re.Pattern[str] | None = None) -> str | None:
        """`p~…` of the raw text, without canonical form and domain; blank text stays, other types give None.

        With a pattern that matches the whole text, every occurrence of what its first group holds is replaced
        instead; text which the pattern does not match **stays as it is**.
        """
        if not isinstance(value, str):
            return None
        if is_blank(value):
            return value
        if pattern is None:
            return self._sealed(value, value)
        match = pattern.fullmatch(value)
        part = match[1] if match else None
        return value.replace(part, self._sealed(part, part)) if part and not is_blank(part) else value

    def regex_matches(self, value: object, pattern: re.Pattern[str], *, reversible: bool = False) -> str | None:
        """`value` with a token for each match of `pattern`, or for its first group if it has one.

        None when nothing was replaced, so that text the pattern does not know never passes. Raises
        UnexpectedType.
        """
        if value is None:
            return None
        if not isinstance(value, str):
            raise UnexpectedType(_kind(value))
        group = 1 if pattern.groups else 0
        pieces: list[str] = []
        position = 0
        for match in pattern.finditer(value):
            start, part = match.start(group), match[group]
            pseudonym = (self.reversible(part) if reversible else self.token(part)) if start >= position else None
            if pseudonym is not None:
                pieces += value[position:start], pseudonym
                position = match.end(group)
        return "".join(pieces) + value[position:] if pieces else None

    def email_header(self, value: object, *, as_json: bool = False) -> str | None:
        """The tokens of a list of addresses, joined by commas, or as a JSON array of objects.

        None for null and for text that is not wholly such a list, empty text for blank. Raises
        UnexpectedType.
        """
        if value is None:
            return None
        if not isinstance(value, str):
            raise UnexpectedType(_kind(value))
        if is_blank(value):
            return ""
        addresses = parse_address_list(value)
        if addresses is None:
            return None
        texts = [f"{address.local}@{address.domain}" for address in addresses]
        if as_json:
            return f"[{','.join(map(self.as_json, texts))}]"
        return ",".join(token for token in map(self.token, texts) if token)

    def hash_ip(self, value: object) -> str | None:
        """`t~…` of an IP address under the IP salt; blank text stays, anything else gives None."""
        if not isinstance(value, str) or is_blank(value):
            return value if isinstance(value, str) else None
        address = _canonical_ip(value)
        return None if address is None else f"t~{_base64url(_hash(address, self._ip_salt))}"

    def encrypt_ip(self, value: object) -> str | None:
        """`p~…` of an IP address under the IP salt and key; blank text stays, anything else gives None."""
        if not isinstance(value, str) or is_blank(value):
            return value if isinstance(value, str) else None
        address = _canonical_ip(value)
        if address is None:
            return None
        return f"p~{_base64url(self._ip_seal.seal(_hash(address, self._ip_salt), address))}"

    def _hash_all(self, texts: Iterable[str | None]) -> dict[str | None, str]:
        """The token of each text that has one; written for speed: few calls a text, one encoding."""
        plain = plain_address
        salt = self._salt
        verbatim = self._domains == "preserve" and self._canonicalization == "strict"
        known: list[str] = []
        digests: list[bytes] = []
        suffixes: list[str] = []
        for text in texts:
            if text is None:
                continue
            if "@" not in text:
                if (not text or text[0].isspace()) and is_blank(text):
                    continue
                identifier, suffix = utf8(text), ""
            elif verbatim and (match := plain(text)) and "+" not in text:
                identifier, suffix = text.lower().encode(), f"@{match[2]}"
            elif is_blank(text):
                continue
            else:
                canonical, suffix = self._canonical(text)
                identifier = utf8(canonical)
            known.append(text)
            digests.append(sha256(identifier + salt).digest())
            suffixes.append(suffix)
        hashes = _base64url_all(digests)
        return {text: f"t~{digest}{suffix}" for text, digest, suffix in zip(known, hashes, suffixes, strict=True)}

    def _canonical(self, text: str) -> tuple[str, str]:
        """What is hashed, and what follows the token: `@domain`, or nothing for other identifiers."""
        address = parse_address(text)
        if address is None:
            return text, ""
        local = address.local.lower().partition("+")[0]
        if self._canonicalization == "ignore-dots":
            local = local.replace(".", "")
        return f"{local}@{address.domain.lower()}", self._suffix(address)

    def _suffix(self, address: Address) -> str:
        domain = address.domain
        if self._domains == "preserve":
            return f"@{domain}"
        if self._domains == "redact":
            return ""
        digest = _hash(domain, self._domain_salt)
        if self._domains == "tokenize":
            return f"@h~{_base64url(digest)}"
        return f"@e~{_base64url(self._domain_seal.seal(digest, domain))}"

    def _sealed(self, canonical: str, original: str) -> str:
        return f"p~{_base64url(self._seal.seal(_hash(canonical, self._salt), original))}"


def salt_fingerprint(salt: str) -> str:
    """What a Psoxy health check shows of its salt; equal fingerprints prove equal salts."""
    digest = sha256(utf8(salt + _FINGERPRINT_SUFFIX)).digest()
    return base64.b64encode(digest, altchars=b"._").rstrip(b"=").decode()


def is_token(text: str) -> bool:
    """Whether `text` has the form of a `t~` or `p~` token, with or without a domain."""
    return _TOKEN.fullmatch(text) is not None


class _Seal:
    """Encrypts behind a hash, under a key stretched from a passphrase once, when it is first needed."""

    def __init__(self, passphrase: str | None, *, salt: bytes) -> None:
        self.has_key = bool(passphrase)
        self._passphrase = passphrase or ""
        self._salt = salt

    def seal(self, digest: bytes, text: str) -> bytes:
        """The digest and, behind it, the text encrypted with the head of the digest as initial vector."""
        padder = PKCS7(AES.block_size).padder()
        padded = padder.update(utf8(text)) + padder.finalize()
        encryptor = Cipher(AES(self._key), CBC(digest[:16])).encryptor()
        return digest + encryptor.update(padded) + encryptor.finalize()

    @cached_property
    def _key(self) -> bytes:
        if not self.has_key:
            raise ConfigurationError("privacy.encryption_key: needed for reversible pseudonyms")
        return pbkdf2_hmac("sha256", utf8(self._passphrase), self._salt, _PBKDF2_ITERATIONS, dklen=32)


def _text_of(value: object) -> str | None:
    """The identifier a JSON value stands for; None where it stands for none."""
    if isinstance(value, str):
        return None if is_blank(value) else value
    if value is None:
        return None
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        try:
            return number_text(value)
        except ValueError:  # beyond Python's limit of digits; no identifier is that long
            raise UnexpectedType("number") from None
    raise UnexpectedType(_kind(value))


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "unknown")


def _hash(text: str, salt: bytes) -> bytes:
    return sha256(utf8(text) + salt).digest()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _base64url_all(digests: Sequence[bytes]) -> Iterator[str]:
    """The characters of each digest, encoded in one go."""
    encoded = _base64url_groups(digests).decode()
    return (encoded[start : start + HASH] for start in range(0, len(encoded), ENCODED_HASH))


def _base64url_groups(digests: Sequence[bytes]) -> bytes:
    """32 bytes and a zero byte are 44 characters without padding, of which the first 43 are those of the 32 alone."""
    return base64.urlsafe_b64encode(b"\0".join([*digests, b""]))


def _canonical_ip(text: str) -> str | None:
    """Java's text of an IP address: IPv6 in eight groups without compression, mapped IPv4 as IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.scope_id is not None:
        return None
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return ":".join(f"{int(group, 16):x}" for group in address.exploded.split(":"))

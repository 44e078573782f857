"""Which texts of a column could hold what the egress guard searches for.

Found in the bytes of all texts at once, so that the recognisers, which take their time, look at few of them. Wider than
the recognisers, never narrower: what they find has one of these hints in it.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

import pyarrow as pa

from pipeline.sanitize.rules import Search
from pipeline.sanitize.text_bytes import JoinedTexts

_FEW_DOMAINS = 8  # of the tenant; when there are more, every `@` is a hint
_PHONE_RUN = b"0" * 7  # a phone number has that many characters
_PHONE_BYTES = b"+0123456789 ()./-" + bytes(range(128, 256))  # with all digits and dashes that are not ASCII
_AS_PHONES = bytes(ord("0") if byte in _PHONE_BYTES else 0 for byte in range(256))


def can_be_anywhere(searches: AbstractSet[Search]) -> bool:
    """Whether no hint tells where to look: two words stand in nearly every text, and can be a name."""
    return "name" in searches


def suspects(texts: pa.Array, searches: AbstractSet[Search], *, domains: Sequence[str] | None) -> list[str]:
    """The texts with a hint of what is searched for, each once; `domains` are the tenant's, None for any."""
    texts = texts.drop_null()
    joined = JoinedTexts(texts)
    found = set(_suspects(joined, searches, domains))
    return list(dict.fromkeys(texts.take(pa.array(sorted(found), pa.int64())).to_pylist())) if found else []


def _suspects(joined: JoinedTexts, searches: AbstractSet[Search], domains: Sequence[str] | None) -> Iterator[int]:
    lower = joined.data.lower()
    for hint in _hints(searches, domains):
        yield from joined.holding(hint, within=lower)
    if not searches.isdisjoint({"phone", "directory"}):
        yield from joined.holding(_PHONE_RUN, within=lower.translate(_AS_PHONES))


def _hints(searches: AbstractSet[Search], domains: Sequence[str] | None) -> Iterator[bytes]:
    """In lower case."""
    if "bearer" in searches:
        yield from (b"eyj", b"bearer")
    if "phone" in searches:
        yield b"://"  # a link is taken out of a text before its digits are looked at
    if not searches.isdisjoint({"address", "directory"}):
        yield b"%40"
        if "address" in searches or domains is None or len(domains) > _FEW_DOMAINS:
            yield b"@"
        else:
            yield from (b"@" + domain.encode() for domain in domains)

"""Which texts of a column could hold what the egress guard searches for.

Found in the bytes of all texts at once, so that the recognisers, which take their time, look at few of them. Wider than
the recognisers, never narrower: what they find has one of these hints in it.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

import pyarrow as pa

from pipeline.sanitize import directory_index, recognizers
from pipeline.sanitize.rules import Search
from pipeline.sanitize.text_bytes import JoinedTexts

_FEW_DOMAINS = 8  # of the tenant; when there are more, every `@` is a hint
_PHONE_RUN = b"0" * recognizers.MIN_PHONE_DIGITS
_DIRECTORY_PHONE_RUN = b"0" * directory_index.MIN_PHONE_DIGITS
_PHONE_BYTES = b"+0123456789 ()./-" + bytes(range(128, 256))  # with all digits and dashes that are not ASCII
# Letters in lower case, what a phone number is made of as zeros: one copy of the bytes to look for either.
_FOLDED = bytes(ord("0") if byte in _PHONE_BYTES else bytes((byte,)).lower()[0] for byte in range(256))


def can_be_anywhere(searches: AbstractSet[Search]) -> bool:
    """Whether no hint tells where to look: two words stand in nearly every text, and can be a name."""
    return "name" in searches


def suspects(texts: pa.Array, searches: AbstractSet[Search], *, domains: Sequence[str] | None) -> list[str]:
    """The texts with a hint of what is searched for, each once; `domains` are the tenant's, None for any."""
    joined = JoinedTexts(texts)
    found = set(_suspects(joined, searches, domains))
    if not found:
        return []
    texts = texts.take(pa.array(sorted(found), pa.int64())).drop_null()  # whose bytes may be there all the same
    return list(dict.fromkeys(texts.to_pylist()))


def _suspects(joined: JoinedTexts, searches: AbstractSet[Search], domains: Sequence[str] | None) -> Iterator[int]:
    for mark in _marks(searches, domains):
        yield from joined.holding(mark, within=joined.data)
    folded = joined.data.translate(_FOLDED)
    for word in _words(searches, domains):
        yield from joined.holding(word.translate(_FOLDED), within=folded)


def _marks(searches: AbstractSet[Search], domains: Sequence[str] | None) -> Iterator[bytes]:
    """Hints that are no letters."""
    if "phone" in searches:
        yield b"://"  # a link is taken out of a text before its digits are looked at
    if not searches.isdisjoint({"address", "directory"}):
        yield b"%40"
        if not _tells_domains(searches, domains):
            yield b"@"


def _words(searches: AbstractSet[Search], domains: Sequence[str] | None) -> Iterator[bytes]:
    """Hints in which case does not matter, nor one character of a phone number from another."""
    if "bearer" in searches:
        yield from (b"eyj", b"bearer")
    if "phone" in searches:
        yield _PHONE_RUN
    elif "directory" in searches:
        yield _DIRECTORY_PHONE_RUN
    if "directory" in searches and _tells_domains(searches, domains):
        yield from (b"@" + domain.encode() for domain in domains or ())


def _tells_domains(searches: AbstractSet[Search], domains: Sequence[str] | None) -> bool:
    """Whether an `@` is a hint before the tenant's domains alone."""
    return "address" not in searches and domains is not None and len(domains) <= _FEW_DOMAINS

"""Proofs that a column has a closed shape, by counting its characters instead of matching a pattern.

A proof is sufficient, never necessary: where none is found the pattern decides. It costs one pass of the C library
over the bytes, and no pattern has to be compiled for it, which is what costs most in a small unit.
"""

import re
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sanitize.shapes import Shape

_TOKEN = 45  # characters of `t~` and a hash
_HASH_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def is_proved(values: pa.Array, shape: Shape) -> bool:
    """Whether it is certain that every text has the shape; null and empty ones have any. False says nothing."""
    if shape.token_rest is None and not shape.alphabet:
        return False
    texts = values.cast(pa.binary()).drop_null()
    lengths = pc.binary_length(texts)
    shortest = pc.min(lengths).as_py()
    if shortest == 0:
        texts = texts.filter(pc.greater(lengths, 0))
        shortest = pc.min(pc.binary_length(texts)).as_py()
    if shortest is None:
        return True
    if shape.token_rest is None:
        return bool(shortest >= shape.shortest and not _bytes(texts).translate(None, shape.alphabet))
    heads = _bytes(pc.binary_slice(texts, 0, _TOKEN))
    longest = pc.max(lengths).as_py()  # Arrow reckons with as many bytes as the end of a slice lets it
    rests = pc.binary_slice(texts, _TOKEN, max(longest, _TOKEN))
    return _are_tokens(heads, len(texts)) and _all_match(rests, shape.token_rest)


def _are_tokens(heads: bytes, count: int) -> bool:
    """Texts of at most 45 characters, joined: each is `t~` and 43 of a hash, since no other character is left over."""
    return (
        len(heads) == count * _TOKEN
        and heads[0::_TOKEN] == b"t" * count
        and heads[1::_TOKEN] == b"~" * count
        and heads.translate(None, _HASH_CHARACTERS) == b"~" * count
    )


def _all_match(rests: pa.Array, pattern: str) -> bool:
    matches = _compiled(pattern).fullmatch
    return all(matches(rest) for rest in rests.unique().to_pylist())


def _bytes(texts: pa.Array) -> bytes:
    """All texts, joined; none is null."""
    _, offsets, data = texts.buffers()
    ends = memoryview(offsets).cast("i")
    start, end = ends[texts.offset], ends[texts.offset + len(texts)]
    return bytes(data.slice(start, end - start).to_pybytes()) if end > start else b""


@cache
def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode())

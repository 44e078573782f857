"""Proofs that a column has a closed shape, by counting its characters instead of matching a pattern.

A proof is sufficient, never necessary: where none is found the pattern decides. It costs one pass of the C library
over the bytes, and no pattern has to be compiled for it, which is what costs most in a small unit. To prove a text
takes no longer than to look up whether it was there before, so what repeats is proved as often.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sanitize.shapes import Shape
from pipeline.sanitize.text_bytes import JoinedTexts

_TOKEN = 45  # characters of `t~` and a hash
# Bytes that are looked at together: a copy of so many needs no memory from the system, and stays in the caches.
_PIECE = 1_024 * _TOKEN
_HASH_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def is_provable(shape: Shape) -> bool:
    """Whether texts of this shape can be proved to have it."""
    return shape.token_rest is not None or bool(shape.alphabet)


def is_proved(values: pa.Array, shape: Shape) -> bool:
    """Whether it is certain that every text has the shape; null and empty ones have any. False says nothing."""
    if not is_provable(shape):
        return False
    texts = values.view(pa.binary()).drop_null()
    if _all_have(shape, texts):
        return True
    filled = texts.filter(pc.greater(pc.binary_length(texts), 0))
    return len(filled) < len(texts) and _all_have(shape, filled)


def have_shape(texts: Sequence[str], shape: Shape) -> bool:
    """Whether each text has the shape, proved or matched. For few of them Arrow's calls take longer than Python's."""
    if not texts:
        return True
    if shape.token_rest is not None:
        heads = "".join([text[:_TOKEN] for text in texts]).encode()
        rests = {text[_TOKEN:].encode() for text in texts}
        if len(heads) == len(texts) * _TOKEN and _are_heads(heads) and _all_match(rests, shape.token_rest):
            return True
    elif shape.alphabet:
        shortest = min(map(len, texts))
        if shortest >= shape.shortest and not "".join(texts).encode().translate(None, shape.alphabet):
            return True
    return all(map(_compiled_text(shape.pattern).fullmatch, set(texts)))


def _all_have(shape: Shape, texts: pa.Array) -> bool:
    if shape.token_rest is not None:
        return _are_tokens(texts, shape.token_rest)
    shortest = pc.min(pc.binary_length(texts)).as_py()
    return shortest is None or (
        shortest >= shape.shortest
        and not any(piece.translate(None, shape.alphabet) for piece in JoinedTexts(texts).pieces(_PIECE))
    )


def _are_tokens(texts: pa.Array, rest: str) -> bool:
    """Whether each is `t~`, 43 characters of a hash, and what matches `rest`."""
    heads = JoinedTexts(pc.binary_slice(texts, 0, _TOKEN))
    # None is longer than a head, so they are so long together only where none is shorter.
    if heads.size != len(texts) * _TOKEN or not all(map(_are_heads, heads.pieces(_PIECE))):
        return False
    return _all_match(pc.binary_replace_slice(texts, 0, _TOKEN, b"").unique().to_pylist(), rest)


def _are_heads(heads: bytes) -> bool:
    """Whether each 45 bytes are `t~` and a hash."""
    count = len(heads) // _TOKEN
    return (
        heads[0::_TOKEN] == b"t" * count
        and heads[1::_TOKEN] == b"~" * count
        and heads.translate(None, _HASH_CHARACTERS) == b"~" * count  # so no other character is in a hash
    )


def _all_match(texts: Iterable[bytes], pattern: str) -> bool:
    return all(map(_compiled(pattern).fullmatch, texts))


@cache
def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode())


@cache
def _compiled_text(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)

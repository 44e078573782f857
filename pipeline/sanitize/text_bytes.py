"""The texts of a column as the bytes that Arrow holds them in, for what is asked of all of them at once."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property

import pyarrow as pa


class JoinedTexts:
    """The UTF-8 of the texts of a column, one behind the other; a null is as good as empty, or what it hides."""

    def __init__(self, texts: pa.Array) -> None:
        _, offsets, data = texts.buffers()
        bounds: Sequence[int] = (0,)
        if len(texts):
            bounds = memoryview(offsets).cast("i")[texts.offset : texts.offset + len(texts) + 1]
        self._bounds = bounds
        self.size = bounds[-1] - bounds[0]
        self._buffer = data.slice(bounds[0], self.size) if self.size else pa.py_buffer(b"")

    @cached_property
    def data(self) -> bytes:
        """All of it."""
        data: bytes = self._buffer.to_pybytes()
        return data

    def pieces(self, size: int) -> Iterator[bytes]:
        """All of it, so many bytes at a time."""
        for start in range(0, self.size, size):
            yield self._buffer.slice(start, min(size, self.size - start)).to_pybytes()

    def holding(self, sought: bytes, *, within: bytes) -> Iterator[int]:
        """The texts in which `sought` begins, by their index; `within` is the data, byte for byte mapped to others."""
        if sought[:1] not in within:
            return  # a single byte is found much faster than several
        start = self._bounds[0]
        at = within.find(sought)
        while at >= 0:
            index = bisect_right(self._bounds, start + at) - 1
            yield index
            at = within.find(sought, self._bounds[index + 1] - start)

"""A bounded memory of tokens, so that an identifier that appears in a thousand records is hashed once.

Two generations of a dictionary: when the young one is full it becomes the old one, and what is asked for
again moves up. That keeps what is in use, like a least-recently-used list, without work on every hit. An
entry costs about 250 bytes (its text, its token, a place in a dictionary).

Threads may share a cache without a lock: each step is one dictionary operation, and two threads that race
make the same token twice or drop some entries early, never a wrong answer.
"""

from collections.abc import Mapping, Sequence


class TokenCache:
    """Remembers at most `entries` tokens."""

    def __init__(self, *, entries: int) -> None:
        self._generation_size = max(1, entries // 2)
        self._young: dict[str | None, str] = {}
        self._old: dict[str | None, str] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, values: Sequence[str | None]) -> list[str | None]:
        """The token of each value, None where it is not known."""
        found = list(map(self._young.get, values))
        old = self._old
        if old and None in found:
            risen: dict[str | None, str] = {}
            for index, value in enumerate(values):
                if found[index] is None and value is not None and (token := old.get(value)) is not None:
                    found[index] = risen[value] = token
            if risen:
                self.add(risen)
        return found

    def add(self, tokens: Mapping[str | None, str]) -> None:
        """Remember tokens; the oldest ones make room."""
        young = self._young
        if len(young) + len(tokens) <= self._generation_size:
            young.update(tokens)
            return
        for value, token in tokens.items():
            if len(young) >= self._generation_size:
                self._old = young
                self._young = young = {}
            young[value] = token

"""Pure, seeded randomness: every fact of the tenant is a function of the seed and of the fact's own name.

Nothing is drawn in sequence, so that the millionth message of a mailbox costs as much as the first.
"""

import math
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple


class Noise:
    """Random numbers named by a kind and some integers."""

    def __init__(self, seed: int) -> None:
        self._key = blake2b(b"%d" % seed, digest_size=32).digest()

    def bytes(self, kind: str, *numbers: int) -> bytes:
        """32 random bytes."""
        name = f"{kind}:{numbers}".encode()
        return blake2b(name, key=self._key, digest_size=32).digest()

    def number(self, kind: str, *numbers: int, below: int) -> int:
        """A random integer in [0, below)."""
        return int.from_bytes(self.bytes(kind, *numbers)[:8]) % below

    def guid(self, kind: str, *numbers: int) -> str:
        """A random GUID."""
        text = self.bytes(kind, *numbers)[:16].hex()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def token(self, kind: str, *numbers: int) -> str:
        """43 random characters of the URL-safe base64 alphabet."""
        return urlsafe_b64encode(self.bytes(kind, *numbers)).decode().rstrip("=")


def spread(pair: bytes, below: int) -> int:
    """Two random bytes (or more) as an integer in [0, below)."""
    return int.from_bytes(pair) * below >> 8 * len(pair)


class Circle(NamedTuple):
    """Some members of a population who do something together; `number` names the circle within its round."""

    number: int
    members: Sequence[int]


class Circles:
    """Divides `population` members into circles of a given size, anew in every round.

    Each member is in exactly one circle of a round, and both questions, who is in a circle and in which circle is
    this member, are answered at once: the members are shuffled by u -> a*u + b (mod population), which can be
    inverted, and the shuffled row is cut into pieces.
    """

    def __init__(self, noise: Noise, kind: str, population: int) -> None:
        self._noise = noise
        self._kind = kind
        self._population = population
        self._shuffle = lru_cache(maxsize=8_192)(self._shuffle_of_round)

    def of_member(self, round_number: int, size: int, member: int) -> Circle:
        """The circle in which `member` is in this round."""
        factor, _, shift = self._shuffle(round_number)
        place = (factor * member + shift) % self._population
        return self.circle(round_number, size, place // size)

    def circle(self, round_number: int, size: int, number: int) -> Circle:
        """The circle of this number; the last of a round may be smaller than `size`."""
        population = self._population
        _, inverse, shift = self._shuffle(round_number)
        places = range(number * size, min((number + 1) * size, population))
        return Circle(number, [(place - shift) * inverse % population for place in places])

    def count(self, size: int) -> int:
        """How many circles of this size a round has."""
        return -(-self._population // size)

    def _shuffle_of_round(self, round_number: int) -> tuple[int, int, int]:
        random = self._noise.bytes(self._kind, round_number)
        population = self._population
        factor = int.from_bytes(random[:8]) % population or 1
        while math.gcd(factor, population) != 1:
            factor = factor % population + 1
        return factor, pow(factor, -1, population), int.from_bytes(random[8:16]) % population

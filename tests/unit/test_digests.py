"""A set that grows holds what was added, and nothing else."""

import random
import tracemalloc

from pipeline.digests import GrowingDigests, keyed_digest


def test_what_was_added_is_found_and_nothing_else() -> None:
    """Through every growth of the table; nought, which marks a free slot, too."""
    generator = random.Random(1)
    expected = {0, *(generator.getrandbits(64) for _ in range(5_000))}
    others = {generator.getrandbits(64) for _ in range(5_000)} - expected
    digests = GrowingDigests()

    assert 0 not in digests
    assert all(digests.add(digest) for digest in sorted(expected))
    assert not any(digests.add(digest) for digest in expected)

    assert len(digests) == len(expected)
    assert all(digest in digests for digest in expected)
    assert not any(digest in digests for digest in others)


def test_a_digest_takes_no_object() -> None:
    """Sixteen bytes at most."""
    tracemalloc.start()
    digests = GrowingDigests()
    for number in range(100_000):
        digests.add(keyed_digest(str(number), key=b"key"))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert taken < 17 * len(digests)

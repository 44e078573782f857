"""What the state keeps of a salt has a key that every store takes."""

from pipeline.kept import key_of_salt
from pipeline.sanitize.pseudonym import salt_fingerprint
from sinks.stores.keys import check_key


def test_every_salt_has_a_key_of_its_own() -> None:
    """Also one whose fingerprint begins with a dot, as one in 64 does."""
    fingerprints = [salt_fingerprint(f"salt number {number} of a thousand") for number in range(1_000)]
    assert any(fingerprint.startswith(".") for fingerprint in fingerprints)
    keys = {key_of_salt("watermarks", fingerprint) for fingerprint in fingerprints}
    assert len(keys) == len(fingerprints)
    for key in keys:
        check_key(key)


def test_the_key_of_a_fingerprint_that_is_one_stays_what_it_was() -> None:
    """Else the watermarks of earlier versions would not be found."""
    assert key_of_salt("owed", "a.B_9") == "owed/a.B_9"

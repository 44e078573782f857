"""The fuzzing of tests/privacy, at length."""

import pytest

from tests.privacy.fuzz import fuzz_documents, fuzz_documents_with_files, fuzz_values

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def test_two_million_values() -> None:
    """No exception, no planted value in any form of pseudonym."""
    assert fuzz_values(seed=2, count=2_000_000) >= 2_000_000


def test_a_hundred_thousand_documents() -> None:
    """No exception, no planted value, with the built-in rules and with operators' files."""
    ends = fuzz_documents(seed=2, count=100_000) + fuzz_documents_with_files(seed=2, count=30_000)

    assert ends.total() >= 130_000
    assert ends["sanitized"] > 75_000

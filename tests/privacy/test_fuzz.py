"""Fuzzed values and documents: no exception, and no planted value in any output. The long form is in tests/long."""

from tests.privacy.fuzz import fuzz_documents, fuzz_documents_with_files, fuzz_values


def test_no_pseudonym_of_any_value_shows_it() -> None:
    """Whatever stands around an identifier, every form of its pseudonym exists and hides it."""
    assert fuzz_values(seed=1, count=20_000) > 20_000


def test_no_document_shows_what_was_planted() -> None:
    """Every dataset and profile; documents end as rows or with a reason, never with another error."""
    ends = fuzz_documents(seed=1, count=1_500)

    assert ends["sanitized"] > 900
    assert ends.keys() <= {"sanitized", "wrong_type", "missing_key"}


def test_no_document_shows_what_a_file_hides() -> None:
    """The same of operators' files: what they treat is treated, however odd the document."""
    ends = fuzz_documents_with_files(seed=1, count=1_500)

    assert ends["sanitized"] > 900
    assert ends.keys() <= {"sanitized", "wrong_type"}

"""Secrets are referred to, read once as they are, and never shown."""

import copy
import pickle
from pathlib import Path

import pytest

from config.secrets import Secret, SecretReader, SecretReference, SecretUnavailableError, check_salt

LITERAL = "hunter2-hunter2"


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda secret: f"{secret!r} {secret}", lambda s: f"{[s]}"])
def test_a_secret_does_not_show_itself(show: object) -> None:
    """Whatever prints it prints Secret(…)."""
    assert callable(show)
    shown = show(Secret(LITERAL.encode()))
    assert "Secret(…)" in shown
    assert LITERAL not in shown


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_taken_along(take: object) -> None:
    """Pickling and copying are refused, and the refusal does not quote."""
    assert callable(take)
    with pytest.raises(TypeError) as refusal:
        take(Secret(LITERAL.encode()))
    assert LITERAL not in str(refusal.value)


def test_comparing_secrets_tells_nothing() -> None:
    """Equal content is not equality; nothing can be guessed by comparing."""
    secret = Secret(b"a")
    assert secret != Secret(b"a")
    assert secret not in [b"a", "a", 97]
    assert secret.reveal() == b"a"


def test_a_secret_that_is_no_text_says_so_without_bytes() -> None:
    """The complaint about encoding carries no byte of the secret, not even as a cause."""
    with pytest.raises(ValueError, match="UTF-8") as refusal:
        Secret(b"hunter\xff2").reveal_text()
    assert "hunter" not in repr(refusal.value)
    assert not isinstance(refusal.value, UnicodeDecodeError)


@pytest.mark.parametrize(
    "text",
    [
        "env:M365_EXPORT_SALT",
        "file:/run/secrets/salt",
        "aws-ssm:/m365/salt",
        "aws-ssm:arn:aws:ssm:eu-west-1:123456789012:parameter/m365/salt",
        "aws-secretsmanager:arn:aws:secretsmanager:eu-west-1:123456789012:secret:m365-salt-AbCdEf",
        "gcp-secret:projects/acme/secrets/salt",
        "gcp-secret:projects/acme/locations/europe-west3/secrets/salt/versions/7",
    ],
)
def test_references_are_read_and_written(text: str) -> None:
    """Each kind of reference reads back as it was written."""
    assert str(SecretReference.parse(text)) == text


def test_a_relative_file_starts_at_the_given_folder() -> None:
    """A relative path is taken from the base folder, an absolute one is left alone."""
    assert SecretReference.parse("file:salt", base_dir=Path("/etc/x")).locator == "/etc/x/salt"
    assert SecretReference.parse("file:/run/salt", base_dir=Path("/etc/x")).locator == "/run/salt"


@pytest.mark.parametrize(
    "text",
    [
        LITERAL,
        "",
        ":",
        f"env:{LITERAL}",
        f"vault:{LITERAL}",
        "env:",
        "file:",
        f"gcp-secret:{LITERAL}",
        f"ENV:{LITERAL}",
    ],
)
def test_a_literal_secret_is_refused_and_not_repeated(text: str) -> None:
    """What stands where a reference belongs may be the secret, so the complaint never holds it."""
    with pytest.raises(ValueError) as refusal:
        SecretReference.parse(text)
    assert LITERAL not in str(refusal.value)


def test_bytes_are_taken_as_they_are(tmp_path: Path) -> None:
    """Neither a file nor a variable is trimmed, and bytes that are no UTF-8 survive."""
    (tmp_path / "key").write_bytes(b" \xff\r\n")
    reader = SecretReader(environ={"KEY": " \udcffk\n"})
    assert reader.read(SecretReference("file", str(tmp_path / "key"))).reveal() == b" \xff\r\n"
    assert reader.read(SecretReference("env", "KEY")).reveal() == b" \xffk\n"


def test_each_reference_is_read_once() -> None:
    """A second question is answered from memory, with the same secret."""
    asked: list[str] = []

    def source(name: str) -> bytes:
        asked.append(name)
        return b"value"

    reader = SecretReader(environ={}, sources={"aws-ssm": source})
    first = reader.read(SecretReference("aws-ssm", "/salt"))
    assert reader.read(SecretReference("aws-ssm", "/salt")) is first
    assert asked == ["/salt"]


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (SecretReference("env", "UNSET"), "variable UNSET is not set"),
        (SecretReference("env", "EMPTY"), "env:EMPTY is empty"),
        (SecretReference("file", "/nonexistent/salt"), "cannot read /nonexistent/salt: No such file"),
        (SecretReference("file", "/"), "cannot read /: Is a directory"),
    ],
)
def test_a_reference_that_leads_nowhere_says_why(reference: SecretReference, reason: str) -> None:
    """The complaint names the reference and the reason."""
    with pytest.raises(SecretUnavailableError, match=reason):
        SecretReader(environ={"EMPTY": ""}).read(reference)


@pytest.mark.parametrize(
    ("salt", "allow_weak", "fault"),
    [
        ("abcdefghijklmnop", False, None),
        ("abcdefghijklmno", False, "shorter than 16"),
        ("abcdefghijklmno", True, None),
        ("abcdefgabcdefgabc", False, "fewer than 8 distinct"),
        ("abcdefghabcdefgh", False, None),
        ("aaaa", True, None),
        ("abcdefghijklmnop\n", False, "ends with a newline"),
        ("abcdefghijklmnop\r\n", True, "ends with a newline"),
        (" abcdefghijklmnop ", False, None),
    ],
)
def test_salts_are_checked(salt: str, allow_weak: bool, fault: str | None) -> None:
    """Short and monotonous salts need consent; a newline at the end is never accepted; nothing is quoted."""
    answer = check_salt(salt, allow_weak=allow_weak)
    if fault is None:
        assert answer is None
    else:
        assert answer is not None
        assert fault in answer
        assert salt.strip() not in answer

"""Sizes carry their unit."""

import pytest

from config.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("128MiB", 134_217_728), ("1GiB", 1_073_741_824), ("64kB", 64_000), ("10MB", 10_000_000), ("7B", 7)],
)
def test_sizes_are_read(text: str, size_bytes: int) -> None:
    """Binary and decimal units are told apart."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "128", "128M", "128mib", "1.5GiB", "-1MiB", "1 MiB", "1MiB\n"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """No unit is guessed."""
    with pytest.raises(ValueError, match="whole number and a unit"):
        parse_size(text)

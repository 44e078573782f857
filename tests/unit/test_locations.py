"""A location has one spelling, and whether one lies inside another is known."""

from pathlib import Path

import pytest

from config.locations import Location, parse_location


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("s3://bucket/prefix", Location("s3", "bucket", "prefix")),
        ("s3://bucket/a/b/", Location("s3", "bucket", "a/b")),
        ("gs://bucket", Location("gs", "bucket", "")),
        ("file:///srv/export", Location("file", "", "/srv/export")),
        ("file:///srv/my export/", Location("file", "", "/srv/my export")),
    ],
)
def test_locations_are_read(text: str, location: Location) -> None:
    """The canonical URL has no slash at its end and reads back."""
    assert parse_location(text) == location
    assert str(location) == text.rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bucket/prefix",
        "/srv/export",
        "https://bucket/prefix",
        "s3://",
        "s3://Bucket/x",
        "s3://user:password@bucket/x",
        "s3://bucket/a//b",
        "s3://bucket/a/../b",
        "s3://bucket/a?x=1",
        "s3://bucket/*",
        "file://srv/export",
        "file:///",
        "file:///srv/../etc",
        "s3://bucket/a\n",
    ],
)
def test_what_is_no_location_is_refused(text: str) -> None:
    """Anything that could be read in two ways is no location."""
    with pytest.raises(ValueError):
        parse_location(text)


@pytest.mark.parametrize(
    ("outer", "inner", "inside"),
    [
        ("s3://bkt/x", "s3://bkt/x", True),
        ("s3://bkt/x", "s3://bkt/x/y", True),
        ("s3://bkt", "s3://bkt/y", True),
        ("s3://bkt/x", "s3://bkt/xy", False),
        ("s3://bkt/x/y", "s3://bkt/x", False),
        ("s3://bkt/x", "gs://bkt/x/y", False),
        ("s3://bkt/x", "s3://other/x/y", False),
        ("file:///srv/a", "file:///srv/a/b", True),
        ("file:///srv/a", "file:///srv/ab", False),
    ],
)
def test_containment(outer: str, inner: str, inside: bool) -> None:
    """A place contains itself and what is below it, not what merely begins alike."""
    assert parse_location(outer).contains(parse_location(inner)) is inside


def test_containment_follows_links(tmp_path: Path) -> None:
    """A link to a folder is that folder."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    outer, inner = parse_location(f"file://{tmp_path}/real"), parse_location(f"file://{tmp_path}/link/state")
    assert outer.contains(inner)

"""Where objects are kept: a bucket and prefix in S3 or GCS, or a local folder.

Bucket names follow the rules S3 and GCS share:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
https://cloud.google.com/storage/docs/buckets#naming (both checked 2026-11)
"""

import os
import re
from dataclasses import dataclass
from typing import Literal, cast

_LOCATION = re.compile(r"(?P<scheme>s3|gs|file)://(?P<bucket>[^/]*)(?P<path>/.*)?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
# Outside these a name would need quoting somewhere on its way: in a URL, a glob, a signature or a log line.
_SEGMENT = re.compile(r"[^\x00-\x1f\x7f?#*\\]+")


@dataclass(frozen=True, slots=True)
class Location:
    """A place for objects.

    `bucket` is empty for a folder. `path` is the prefix without slashes around it (empty: the whole bucket),
    or the absolute path of a folder.
    """

    scheme: Literal["s3", "gs", "file"]
    bucket: str
    path: str

    def __str__(self) -> str:
        """The canonical URL, without a slash at its end."""
        separator = "/" if self.bucket and self.path else ""
        return f"{self.scheme}://{self.bucket}{separator}{self.path}"

    def contains(self, other: "Location") -> bool:
        """Whether `other` is this place or lies inside it; symbolic links in folders are followed."""
        if (self.scheme, self.bucket) != (other.scheme, other.bucket):
            return False
        outer, inner = _resolved_path(self), _resolved_path(other)
        return not outer or inner == outer or inner.startswith(outer + "/")


def parse_location(text: str) -> Location:
    """The place `text` names, taken as written (no percent-decoding). Raises ValueError with the reason."""
    match = _LOCATION.fullmatch(text)
    if match is None:
        raise ValueError("a location is written s3://bucket/prefix, gs://bucket/prefix or file:///absolute/path")
    scheme = cast("Literal['s3', 'gs', 'file']", match["scheme"])
    bucket, segments = match["bucket"], (match["path"] or "").strip("/").split("/")
    if scheme == "file":
        if bucket or segments == [""]:
            raise ValueError("a folder is written file:///absolute/path, with three slashes")
    elif not _BUCKET.fullmatch(bucket):
        raise ValueError("the bucket's name is not a valid one")
    if segments != [""] and not all(map(_is_plain, segments)):
        raise ValueError("a path has no empty, '.' or '..' part, no '?', '#', '*' or backslash, no control character")
    path = "/".join(segments)
    return Location(scheme=scheme, bucket=bucket, path="/" + path if scheme == "file" else path)


def _resolved_path(location: Location) -> str:
    return os.path.realpath(location.path) if location.scheme == "file" else location.path


def _is_plain(segment: str) -> bool:
    return segment not in {".", ".."} and _SEGMENT.fullmatch(segment) is not None

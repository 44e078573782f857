"""Whose an object is: every upload puts a random name into its object's metadata.

Asked only where an answer was lost, and only decisive where the object may be read (`s3:GetObject`).
"""

import secrets
from enum import StrEnum

from sinks.stores.s3.bucket import DENIED, NO_KEY, Answer, Bucket

_METADATA = "m365-export-upload"


class Standing(StrEnum):
    """What stands at a key."""

    OURS = "ours"
    ANOTHERS = "another's"
    NOTHING = "nothing"
    UNREADABLE = "unreadable"


def new_identity() -> str:
    """A name that no other upload has."""
    return secrets.token_hex(16)


def identify(identity: str) -> dict[str, dict[str, str]]:
    """Parameters of a write that name its upload."""
    return {"Metadata": {_METADATA: identity}}


def standing(bucket: Bucket, path: str, identity: str) -> Standing:
    """Whose the object at `path` is. Blocks."""
    answer = bucket.call("head_object", expect={DENIED, NO_KEY}, Key=path)
    if answer.code is not None:
        return Standing.UNREADABLE if answer.code == DENIED else Standing.NOTHING
    return Standing.OURS if is_named(answer, identity) else Standing.ANOTHERS


def is_named(answer: Answer, identity: str) -> bool:
    """Whether the object of a HEAD was written under this name."""
    return bool(answer.data["Metadata"].get(_METADATA) == identity)

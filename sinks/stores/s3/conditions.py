"""Which conditional writes a store really has, found out by trying.

A store that does not know a condition ignores it and overwrites, so each kind of write is tried on a key
where an object stands already: refused is proven, accepted is not. The probe object stays, because nothing
may be deleted at the destination.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html (checked 2026-11)
"""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import StoreRefused
from sinks.stores.s3.bucket import NO_UPLOAD, TAKEN, UNSUPPORTED, Bucket, etag, md5_header

PROBE_KEY = "_probe/create-only"
_PROBE = b"m365-export tries here whether this store refuses to overwrite. The object may stay.\n"


class Publishing(StrEnum):
    """How an upload becomes visible, create-only, on this store."""

    MULTIPART = "multipart"  # on completion of a multipart upload: bytes are sent before
    SINGLE = "single"  # by one put of everything
    VOUCHED = "vouched"  # not by the store: the operator vouches for a single writer


@dataclass(frozen=True, slots=True)
class Conditions:
    publishing: Publishing
    keeps_refused_uploads: bool = False  # a refused multipart upload still takes parts, which tells it from a done one


def prove_conditions(bucket: Bucket) -> Conditions:
    """Try the writes of a destination. Blocks.

    Raises:
        StoreRefused: a right is missing, or the store overwrites and nobody vouched for a single writer.
    """
    path = bucket.path(PROBE_KEY)
    if not refuses_to_overwrite(bucket, path):
        if not bucket.single_writer:
            raise StoreRefused(unconditional(bucket))
        return Conditions(Publishing.VOUCHED)
    upload = bucket.call("create_multipart_upload", Key=path, **bucket.encryption()).data["UploadId"]
    place = {"Key": path, "UploadId": upload}
    part = bucket.call("upload_part", **place, PartNumber=1, Body=_PROBE, ContentMD5=md5_header(_PROBE))
    completed = bucket.call(
        "complete_multipart_upload",
        expect={TAKEN, UNSUPPORTED},
        **place,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag(part)}]},
        IfNoneMatch="*",
    )
    kept = completed.code == TAKEN and is_open(bucket, path, upload, part_number=2)
    bucket.call("abort_multipart_upload", expect={NO_UPLOAD}, **place)
    return Conditions(Publishing.MULTIPART if completed.code == TAKEN else Publishing.SINGLE, kept)


def refuses_to_overwrite(bucket: Bucket, path: str) -> bool:
    """Whether `If-None-Match: *` protects the object at `path`, which is made if it is not there."""
    for _ in range(2):  # the first makes the object, unless an earlier run did
        answer = bucket.call(
            "put_object",
            expect={TAKEN, UNSUPPORTED},
            Key=path,
            Body=_PROBE,
            ContentMD5=md5_header(_PROBE),
            IfNoneMatch="*",
            **bucket.encryption(),
        )
        if answer.code is not None:
            return answer.code == TAKEN
    return False


def is_open(bucket: Bucket, path: str, upload: str, *, part_number: int) -> bool:
    """Whether a multipart upload is neither completed nor aborted, learnt without the right to list or read."""
    answer = bucket.call("upload_part", expect={NO_UPLOAD}, Key=path, UploadId=upload, PartNumber=part_number, Body=b"")
    return answer.code is None


def unconditional(bucket: Bucket) -> str:
    """Why a store without conditional writes is refused, and the ways out."""
    return (
        f"{bucket.name}: this store ignores If-None-Match and overwrites, so two runs could destroy each other's "
        "objects. Use a store with conditional writes, or set storage.single_writer if you make sure that "
        "nothing else ever writes here"
    )

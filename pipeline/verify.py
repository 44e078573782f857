"""Whether what was published is what the manifest says: every part is read again, with the consumer's rights.

Nothing but the destination is needed: no tenant, no state, no salt. How values were treated is told by the run's field
ledger. A part is fetched in pieces into a temporary file,
one at a time, and looked at there. A part without rows that the manifest does not list is no difference: it holds the
place of one that was not to appear.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import IO, Protocol

import msgspec

from pipeline.errors import ConfigurationError
from pipeline.manifest import Manifest, PartLine, decode_manifest, fields_path, manifest_path
from pipeline.ports import DestinationReader

PIECE_BYTES = 8 * 1024 * 1024
_MANIFESTS = "_manifests/"


@dataclass(frozen=True, slots=True)
class Difference:
    """`what` holds no value. `dataset` is empty where the manifest itself is meant."""

    dataset: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.dataset or 'manifest'}  {self.path}  {self.what}"


@dataclass(slots=True)
class Verified:
    """What was looked at and what differs; without a manifest the only difference is that it cannot be read."""

    run_id: str
    manifest: Manifest | None = None
    differences: list[Difference] = field(default_factory=list)
    parts: int = 0
    rows: int = 0
    bytes: int = 0


class DatasetCheck(Protocol):
    """Looks into the parts of one dataset of one run. Blocks."""

    def differences(self, file: IO[bytes], *, path: str, rows: int) -> list[str]:
        """What is wrong with the content of a part that should have so many rows."""
        ...

    def holds_rows(self, file: IO[bytes]) -> bool:
        """Whether it is anything but a valid part without rows."""
        ...

    def repeated(self) -> Mapping[str, int]:
        """By path: how many rows have a key that another row of the run has too."""
        ...


CheckFor = Callable[[str], DatasetCheck]
ChecksOf = Callable[[Manifest, bytes | None], CheckFor]  # of a run and its field ledger, if it has one


async def verify(
    reader: DestinationReader, run_id: str | None, *, datasets: Collection[str], checks_of: ChecksOf
) -> Verified:
    """Compare one run with its manifest; without `run_id` the last sealed one. `datasets`: all there can be.

    Raises:
        ConfigurationError: there is no such sealed run.
        StoreRefused, StoreUnavailable
    """
    run_id = run_id or await _last_run(reader)
    content = await _whole(reader, manifest_path(run_id))
    if content is None:
        raise ConfigurationError("verify: no run with this id is sealed at this destination; `status` lists runs")
    verified = Verified(run_id)
    try:
        manifest = verified.manifest = decode_manifest(content)
    except msgspec.DecodeError:
        verified.differences.append(Difference("", manifest_path(run_id), "is damaged, or of a newer version"))
        return verified
    if manifest.run_id != run_id:
        verified.differences.append(Difference("", manifest_path(run_id), "is that of another run"))
        return verified
    check_for = checks_of(manifest, await _whole(reader, fields_path(run_id)))
    for dataset in dict.fromkeys((*manifest.datasets, *datasets)):
        await _Dataset(reader, dataset, manifest, check_for, verified).verify()
    return verified


class _Dataset:
    """The parts of one dataset."""

    def __init__(
        self, reader: DestinationReader, dataset: str, manifest: Manifest, check_for: CheckFor, verified: Verified
    ) -> None:
        self._reader = reader
        self._dataset = dataset
        self._prefix = f"{dataset}/{manifest.run_id}/"
        line = manifest.datasets.get(dataset)
        self._rows = line.rows if line is not None else 0
        self._parts = line.parts if line is not None else []
        self._check_for = check_for
        self._manifest = manifest
        self._verified = verified

    async def verify(self) -> None:
        visible = {key for key in await self._reader.keys(self._prefix) if key.endswith(".parquet")}
        listed = {part.path for part in self._parts}
        if not visible and not listed:
            return
        check = self._check_for(self._dataset)
        if self._rows != sum(part.rows for part in self._parts):
            self._differs(manifest_path(self._manifest.run_id), "its rows are not the sum of its parts' rows")
        for part in self._parts:
            if part.path in visible:
                await self._verify_part(check, part)
            else:
                self._differs(part.path, "missing")
        for path in sorted(visible - listed):
            await self._look_at_unlisted(check, path)
        for path, rows in sorted((await asyncio.to_thread(check.repeated)).items()):
            self._differs(path, f"duplicate key: {rows:,} rows have a key that stands elsewhere in the run")

    async def _verify_part(self, check: DatasetCheck, part: PartLine) -> None:
        with tempfile.TemporaryFile() as file:
            fetched = await self._fetch(part.path, file)
            if fetched is None:
                self._differs(part.path, "missing")
                return
            size, sha256 = fetched
            self._verified.parts += 1
            self._verified.rows += part.rows
            self._verified.bytes += size
            if size != part.bytes:
                self._differs(part.path, f"size: {size:,} bytes, published were {part.bytes:,}")
            elif sha256 != part.sha256:
                self._differs(part.path, "checksum: not the bytes that were published")
            for what in await asyncio.to_thread(check.differences, file, path=part.path, rows=part.rows):
                self._differs(part.path, what)

    async def _look_at_unlisted(self, check: DatasetCheck, path: str) -> None:
        with tempfile.TemporaryFile() as file:
            if await self._fetch(path, file) is not None and await asyncio.to_thread(check.holds_rows, file):
                self._differs(path, "foreign: the manifest does not list it")

    async def _fetch(self, path: str, file: IO[bytes]) -> tuple[int, str] | None:
        """Size and checksum of an object that is copied to `file`; None where there is none."""
        digest, size = hashlib.sha256(), 0

        def take(piece: bytes) -> None:
            digest.update(piece)
            file.write(piece)

        while True:
            piece = await self._reader.read(path, start=size, count=PIECE_BYTES)
            if piece is None:
                return None
            await asyncio.to_thread(take, piece)
            size += len(piece)
            if len(piece) < PIECE_BYTES:
                file.seek(0)
                return size, digest.hexdigest()

    def _differs(self, path: str, what: str) -> None:
        self._verified.differences.append(Difference(self._dataset, path, what))


async def _last_run(reader: DestinationReader) -> str:
    names = [key.removeprefix(_MANIFESTS) for key in await reader.keys(_MANIFESTS)]
    runs = [name.removesuffix(".json") for name in names if name.endswith(".json") and name.count(".") == 1]
    if not runs:
        raise ConfigurationError("verify: no run is sealed at this destination")
    return max(runs)


async def _whole(reader: DestinationReader, path: str) -> bytes | None:
    """The bytes of a small object; None where there is none."""
    content = b""
    while True:
        try:
            piece = await reader.read(path, start=len(content), count=PIECE_BYTES)
        except ValueError:  # no key: nothing can have that name
            return None
        if piece is None:
            return None
        content += piece
        if len(piece) < PIECE_BYTES:
            return content

"""`verify` finds whatever was changed after an export, with the reader's side of every store.

A small tenant is exported in memory; what came out is published to the store at hand as it is, or tampered with.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigurationError
from pipeline.manifest import Manifest, PartLine, encode_manifest, manifest_path
from pipeline.model import RunKind
from pipeline.run import Request, export
from pipeline.sanitize.rules import built_in_rules
from pipeline.verification import dataset_checks
from pipeline.verify import Verified, verify
from sinks.parquet.flat import flat_table
from tests.contract.backends import Backend
from tests.harness import Harness, SmallTenant

DATASET = "mail_messages"


@dataclass(slots=True)
class Export:
    """What an export published; a test changes it before it goes to the store."""

    objects: dict[str, bytes]
    manifest: Manifest

    @property
    def part(self) -> PartLine:
        return self.manifest.datasets[DATASET].parts[0]

    def table(self) -> pa.Table:
        return pq.read_table(io.BytesIO(self.objects[self.part.path]))

    def rewrite(self, table: pa.Table, *, number: int = 0) -> None:
        """Put other content in a part's place, and let the manifest agree with its bytes."""
        lines = self.manifest.datasets[DATASET]
        content = parquet(table)
        self.objects[lines.parts[number].path] = content
        lines.parts[number] = listed(lines.parts[number].path, table, content)
        self.publish_manifest()

    def add(self, table: pa.Table, path: str) -> None:
        """One part more, which the manifest lists."""
        content = parquet(table)
        self.objects[path] = content
        line = self.manifest.datasets[DATASET]
        line.parts.append(listed(path, table, content))
        line.rows += table.num_rows
        self.publish_manifest()

    def publish_manifest(self) -> None:
        self.objects[manifest_path(self.manifest.run_id)] = encode_manifest(self.manifest)


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def listed(path: str, table: pa.Table, content: bytes) -> PartLine:
    return PartLine(path, table.num_rows, len(content), hashlib.sha256(content).hexdigest(), None, None)


def other(path: str) -> str:
    return path.replace("-00001-", "-00077-")


async def exported() -> Export:
    harness = Harness(SmallTenant.with_mail(users=2, messages=4), part_size_bytes=1)
    outcomes = await export(harness.equip(), Request(kind=RunKind.RUN))
    manifest = outcomes[0].manifest
    assert manifest is not None
    assert len(manifest.datasets[DATASET].parts) > 1
    return Export(dict(harness.bucket.objects), manifest)


async def verified(backend: Backend, objects: dict[str, bytes], run_id: str | None = None) -> Verified:
    destination = backend.destination()
    for key, content in objects.items():
        upload = await destination.begin(key)
        await upload.write(content)
        await upload.seal()
        await upload.publish()
    rules = dict(built_in_rules())
    return await verify(
        backend.reader(),
        run_id,
        datasets=rules,
        checks_of=lambda manifest, ledger: dataset_checks(rules, manifest, ledger),
    )


def flip_a_byte(found: Export) -> None:
    content = bytearray(found.objects[found.part.path])
    content[len(content) // 3] ^= 1
    found.objects[found.part.path] = bytes(content)


def truncate(found: Export) -> None:
    found.objects[found.part.path] = found.objects[found.part.path][:-1]


def lose_a_part(found: Export) -> None:
    del found.objects[found.part.path]


def add_a_foreign_part(found: Export) -> None:
    found.objects[other(found.part.path)] = found.objects[found.part.path]


def add_a_part_of_a_dataset_that_was_not_exported(found: Export) -> None:
    found.objects[found.part.path.replace(DATASET, "calendar_events")] = found.objects[found.part.path]


def repeat_a_key_in_another_part(found: Export) -> None:
    found.add(found.table().slice(0, 1), other(found.part.path))


def repeat_a_key_in_the_same_part(found: Export) -> None:
    table = found.table()
    found.manifest.datasets[DATASET].rows += 1
    found.rewrite(pa.concat_tables([table, table.slice(0, 1)]))


def rename_a_column(found: Export) -> None:
    table = found.table()
    names = ["renamed" if name == "importance" else name for name in table.column_names]
    found.rewrite(table.rename_columns(names).replace_schema_metadata(table.schema.metadata))


def change_a_type(found: Export) -> None:
    table = found.table()
    index = table.column_names.index("isRead")
    found.rewrite(table.set_column(index, "isRead", pc.cast(table["isRead"], pa.string())))


def drop_rows(found: Export) -> None:
    path, line = found.part.path, found.part
    found.rewrite(found.table().slice(1))
    short = found.manifest.datasets[DATASET].parts[0]
    found.manifest.datasets[DATASET].parts[0] = msgspec.structs.replace(short, path=path, rows=line.rows)
    found.publish_manifest()


def miscount(found: Export) -> None:
    found.manifest.datasets[DATASET].rows += 1
    found.publish_manifest()


def write_an_address(found: Export) -> None:
    table = found.table()
    addresses = pa.array([f"zoe.{n}@contoso.com" for n in range(table.num_rows)], pa.string())
    found.rewrite(table.set_column(table.column_names.index("id"), "id", addresses))


def write_an_owner_in_the_clear(found: Export) -> None:
    table = found.table()
    owners = pa.array(["00000000-0000-4000-8000-000000000000"] * table.num_rows, pa.string())
    found.rewrite(table.set_column(table.column_names.index("_owner"), "_owner", owners))


def mix_layouts(found: Export) -> None:
    found.rewrite(flat_table(found.table()))


def forge_the_profile(found: Export) -> None:
    table = found.table()
    found.rewrite(table.replace_schema_metadata({**table.schema.metadata, b"m365_export.profile": b"psoxy"}))


def take_rows_of_another_run(found: Export) -> None:
    table = found.table()
    ids = pa.array(["20200101T000000Z-0000"] * table.num_rows, pa.string())
    found.rewrite(table.set_column(table.column_names.index("_run_id"), "_run_id", ids))


def damage_the_manifest(found: Export) -> None:
    found.objects[manifest_path(found.manifest.run_id)] = b'{"manifest_version": 1'


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (lose_a_part, {"missing"}),
        (add_a_foreign_part, {"foreign"}),
        (add_a_part_of_a_dataset_that_was_not_exported, {"foreign"}),
        (repeat_a_key_in_another_part, {"duplicate key"}),
        (repeat_a_key_in_the_same_part, {"duplicate key"}),
        (rename_a_column, {"schema"}),
        (change_a_type, {"schema"}),
        (drop_rows, {"rows"}),
        (miscount, {"its rows are not the sum of its parts' rows"}),
        (write_an_address, {"guard"}),
        (write_an_owner_in_the_clear, {"guard"}),
        (mix_layouts, {"schema"}),
        (forge_the_profile, {"metadata"}),
        (take_rows_of_another_run, {"rows"}),
        (damage_the_manifest, {"is damaged, or of a newer version"}),
    ],
)
async def test_a_change_is_found(backend: Backend, tamper: Callable[[Export], None], expected: set[str]) -> None:
    """Each kind of change is named, with the path where it is, and nothing else is complained about."""
    found = await exported()
    tamper(found)

    seen = await verified(backend, found.objects)

    told = {difference.what.partition(":")[0] for difference in seen.differences}
    assert told == expected, seen.differences
    assert all(found.manifest.run_id in difference.path for difference in seen.differences)


@pytest.mark.parametrize(("damage", "expected"), [(flip_a_byte, "checksum"), (truncate, "size")])
async def test_damage_is_found(backend: Backend, damage: Callable[[Export], None], expected: str) -> None:
    """One bit or one byte is enough; what else the damage makes of the content may be told besides."""
    found = await exported()
    damage(found)

    seen = await verified(backend, found.objects)

    assert {difference.path for difference in seen.differences} == {found.part.path}
    assert expected in {difference.what.partition(":")[0] for difference in seen.differences}


async def test_a_run_as_it_was_published_has_no_difference(backend: Backend) -> None:
    """Every part is read; empty parts, listed or not, and foreign files are none of its affair."""
    found = await exported()
    empty = found.table().slice(0, 0)
    found.add(empty.replace_schema_metadata({"m365_export.profile": "an older one"}), other(found.part.path))
    found.objects[found.part.path.replace("-00001-", "-00078-")] = parquet(empty)
    found.objects[f"{DATASET}/{found.manifest.run_id}/notes.txt"] = b"of somebody else"
    found.objects[f"{DATASET}/20200101T000000Z-0000/{DATASET}-00001-20200101.parquet"] = b"of another run"

    seen = await verified(backend, found.objects, found.manifest.run_id)

    assert seen.differences == []
    assert seen.parts == sum(len(line.parts) for line in found.manifest.datasets.values())
    assert seen.rows == sum(line.rows for line in found.manifest.datasets.values())


async def test_a_run_in_the_flat_layout_has_no_difference(backend: Backend) -> None:
    """Which layout a run has is seen from its parts; keys and patterns are looked for in both."""
    found = await exported()
    for number, part in enumerate(found.manifest.datasets[DATASET].parts):
        found.rewrite(flat_table(pq.read_table(io.BytesIO(found.objects[part.path]))), number=number)
    assert (await verified(backend, found.objects)).differences == []


async def test_a_repeated_key_is_found_in_the_flat_layout(backend: Backend) -> None:
    """Both rows are counted where they stand."""
    found = await exported()
    for number, part in enumerate(found.manifest.datasets[DATASET].parts):
        found.rewrite(flat_table(pq.read_table(io.BytesIO(found.objects[part.path]))), number=number)
    found.add(found.table().slice(0, 2), other(found.part.path))

    seen = await verified(backend, found.objects)

    assert {difference.path for difference in seen.differences} == {found.part.path, other(found.part.path)}
    assert all(difference.what.startswith("duplicate key: 2 rows") for difference in seen.differences)


async def test_the_last_sealed_run_is_the_default(backend: Backend) -> None:
    """Side files of a run are no runs; the greatest id is the last one."""
    found = await exported()
    older: Any = msgspec.json.decode(found.objects[manifest_path(found.manifest.run_id)])
    older["run_id"] = "20200101T000000Z-0000"
    found.objects[manifest_path("20200101T000000Z-0000")] = msgspec.json.encode(older)

    assert (await verified(backend, found.objects)).run_id == found.manifest.run_id


@pytest.mark.parametrize("run_id", ["20200101T000000Z-0000", "../secret", None])
async def test_a_run_that_is_not_sealed_is_a_usage_error(backend: Backend, run_id: str | None) -> None:
    """Without a manifest there is nothing to compare with."""
    with pytest.raises(ConfigurationError, match="verify: no run"):
        await verified(backend, {}, run_id)


async def test_a_version_that_is_not_known_is_not_vouched_for(backend: Backend) -> None:
    """Which columns another version has, nobody here can say: the version that wrote it is named."""
    found = await exported()
    found.manifest.schema_versions[DATASET] = 99
    found.publish_manifest()

    seen = await verified(backend, found.objects)

    assert {difference.what for difference in seen.differences} == {
        f"schema: not known here; verify it with m365-export {found.manifest.tool_version}"
    }

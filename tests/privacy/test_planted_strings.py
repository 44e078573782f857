"""No string planted in the tenant leaves: not in Parquet, manifest, state, log, or a file's name.

Each test first proves that the strings are in what the tenant serves; otherwise it would prove nothing.
"""

import io
import json
from collections.abc import Iterable
from datetime import timedelta

import pyarrow.parquet as pq
import pytest
import structlog

from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site

# The domain of an address stays readable by contract; the psoxy profiles keep a group's own address and what people
LEAVES_BY_CONTRACT = {
    "strict": frozenset({"domain"}),
    "psoxy-no-app-ids": frozenset({"domain", "group_address", "group", "location", "department", "category"}),
    "psoxy": frozenset({"domain", "group_address", "group", "location", "department", "category"}),
}


def served_text(site: Site) -> str:
    """Everything the tenant's API serves, as JSON."""
    truth = site.tenant.truth
    start, end = NOW - timedelta(days=10), NOW
    records: list[object] = [*truth.users(), *truth.groups(), *truth.chats(), *truth.chat_messages(start, end)]
    records += [*truth.call_records(start, end), *truth.pstn_calls(start, end), *truth.direct_routing_calls(start, end)]
    for user in site.tenant.user_ids:
        meetings = truth.online_meetings(user)
        records += [*meetings, *(truth.attendance_reports(user, meeting["id"]) for meeting in meetings)]
        records += [truth.mailbox_settings(user), *truth.messages(user, start, end), *truth.events(user, start, end)]
    return json.dumps(records, ensure_ascii=False)


def written_text(site: Site) -> str:
    """Every byte the export wrote, Parquet decoded, and every file name."""
    texts = []
    for path, data in site.written_bytes().items():
        texts += [str(path.relative_to(site.folder)), data.decode("utf-8", errors="replace")]
        if path.suffix == ".parquet":
            table = pq.read_table(io.BytesIO(data))
            texts += [json.dumps(table.to_pylist(), default=str, ensure_ascii=False), str(table.schema.metadata)]
    return "\n".join(texts)


def found_in(text: str, strings: Iterable[str]) -> list[str]:
    lowered = text.lower()
    return sorted({string for string in strings if len(string) >= 5 and string.lower() in lowered})


@pytest.mark.parametrize("profile", ["strict", "psoxy-no-app-ids", "psoxy"])
async def test_no_planted_string_is_in_any_byte_written(
    open_site: OpenSite, profile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, addresses, phones and free texts are in the input and nowhere in what was written or logged."""
    site = await open_site(users=10, history=timedelta(days=5), keys={"privacy.profile": profile})
    allowed = LEAVES_BY_CONTRACT[profile]
    planted = [string for kind, string in site.tenant.planted_by_kind() if kind not in allowed]
    served = served_text(site)
    present = found_in(served, planted)
    assert len(present) > 100

    structlog.configure(logger_factory=structlog.PrintLoggerFactory())
    await site.run()
    printed = capsys.readouterr()

    leaked = found_in(written_text(site), planted)
    kinds = {kind for kind, string in site.tenant.planted_by_kind() if string in leaked}
    assert (kinds, leaked) == (set(), [])
    assert found_in(printed.out + printed.err, planted) == []


async def test_manifest_state_and_log_hold_no_object_id(
    open_site: OpenSite, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also in the profile that keeps object ids in the data, manifest, state and log name people by pseudonym only."""
    site = await open_site(users=10, history=timedelta(days=5), keys={"privacy.profile": "psoxy"})
    assert all(user in served_text(site) for user in site.tenant.user_ids)

    await site.run()
    printed = capsys.readouterr()

    kept = "\n".join(
        data.decode("utf-8", errors="replace")
        for path, data in site.written_bytes().items()
        if path.suffix != ".parquet"
    )
    assert kept
    assert found_in(kept + printed.out + printed.err, site.tenant.user_ids) == []

"""With `scope.suppress` excluded people are in nothing that is written, neither by name nor by pseudonym.

Each test first proves that they are there without it; otherwise it would prove nothing.
"""

import base64
import binascii
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import structlog

from connectors.emulator import MailboxKind
from connectors.emulator.people import Person
from pipeline.sanitize.pseudonym import Pseudonymizer
from tests.integration.conftest import OpenSite
from tests.integration.site import SALT, Site, token
from tests.integration.test_operator_rules import rules_files

PSEUDONYMS = Pseudonymizer(salt=SALT)
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")


def identifiers(person: Person) -> set[str]:
    """Under which the tenant's records know a person; the private address is nowhere but in the directory."""
    return {person.id, person.upn, person.mail or person.upn, person.alias, person.legacy_dn}


def traces(person: Person) -> set[str]:
    """Each identifier and the hash in its pseudonym."""
    return {
        trace for each in identifiers(person) for trace in (each.lower(), token(each).partition("@")[0][2:].lower())
    }


def texts(value: Any) -> Iterator[str]:
    """All texts of a value, and what those in base64 hold."""
    if isinstance(value, str):
        yield value
        for found in BASE64.findall(value):
            try:
                yield base64.urlsafe_b64decode(found.replace("+", "-").replace("/", "_") + "===").decode("latin-1")
            except binascii.Error:
                continue
    elif isinstance(value, dict):
        for member in value.values():
            yield from texts(member)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def written(site: Site, run_id: str) -> dict[str, str]:
    """What one run left at the destination, by dataset."""
    found: dict[str, list[str]] = {}
    for path in (site.folder / "data").rglob(f"*{run_id}*/*.parquet"):
        table = pq.read_table(io.BytesIO(path.read_bytes()))
        found.setdefault(path.parent.parent.name, []).extend(texts(table.to_pylist()))
    for path in (site.folder / "data" / "_manifests").glob(f"{run_id}*"):
        found.setdefault("manifests", []).append(path.read_text())
    return {dataset: "\n".join(parts).lower() for dataset, parts in found.items()}


def where_found(site: Site, run_id: str, people: list[Person]) -> dict[str, set[int]]:
    """In which datasets there is a trace of whom, by number."""
    sought = {person.number: traces(person) for person in people}
    return {
        dataset: numbers
        for dataset, text in written(site, run_id).items()
        if (numbers := {number for number, each in sought.items() if any(trace in text for trace in each)})
    }


def people_of(site: Site, *, count: int) -> list[Person]:
    return [site.tenant.person(user) for user in site.tenant.users_of(MailboxKind.NORMAL)[:count]]


@pytest.mark.parametrize("profile", ["strict", "psoxy-no-app-ids", "psoxy"])
async def test_excluded_people_are_in_no_row_of_anybody(open_site: OpenSite, profile: str) -> None:
    """Neither as users, members, senders, recipients, organizers, attendees, nor inside the id of a chat or a link."""
    site = await open_site(users=14, history=timedelta(days=5), keys={"privacy.profile": profile})
    excluded = people_of(site, count=3)
    scope: dict[str, object] = {"scope.exclude_users": [excluded[0].id.upper(), *(each.upn for each in excluded[1:])]}
    site.keys |= scope
    shown = await site.run()
    site.keys |= {"scope.suppress": True, "state": f"file://{site.folder}/other"}
    site.tenant.clock.advance(timedelta(seconds=5))
    suppressed = await site.run()

    everywhere = where_found(site, shown.run_id, excluded)
    assert set(everywhere) == {
        "mail_messages", "calendar_events", "teams_chats", "teams_chat_messages", "teams_channel_messages",
        "teams_call_records", "teams_online_meetings", "teams_attendance_reports", "manifests",
    }  # fmt: skip
    assert set.union(*everywhere.values()) == {person.number for person in excluded}
    assert where_found(site, suppressed.run_id, excluded) == {}
    assert suppressed.status == "complete"
    assert _counts(suppressed) == _counts(shown)


async def test_an_operators_file_is_given_records_without_them(open_site: OpenSite, tmp_path: Path) -> None:
    """What the file would keep as it is, is not there."""
    site = await open_site(users=10, history=timedelta(days=4), keys=rules_files(tmp_path))
    excluded = people_of(site, count=2)
    site.keys |= {"scope.exclude_users": [each.id for each in excluded]}
    shown = await site.run()
    site.keys |= {"scope.suppress": True, "state": f"file://{site.folder}/other"}
    site.tenant.clock.advance(timedelta(seconds=5))
    suppressed = await site.run()

    assert {"mail_messages"} <= set(where_found(site, shown.run_id, excluded))
    assert where_found(site, suppressed.run_id, excluded) == {}
    assert _counts(suppressed) == _counts(shown)


async def test_state_and_log_do_not_name_them_either(open_site: OpenSite, capsys: pytest.CaptureFixture[str]) -> None:
    """By no identifier and no pseudonym, also while the run is on its way."""
    site = await open_site(users=10, history=timedelta(days=3))
    excluded = people_of(site, count=2)
    site.keys |= {"scope.exclude_users": [each.id for each in excluded], "scope.suppress": True}
    structlog.configure(logger_factory=structlog.PrintLoggerFactory())
    await site.run()
    printed = capsys.readouterr()

    state = (
        data.decode("utf-8", errors="replace") for path, data in site.written_bytes().items() if "state" in str(path)
    )
    text = "\n".join((*state, printed.out, printed.err)).lower()
    assert "unit_skipped" in text
    assert [trace for person in excluded for trace in traces(person) if trace in text] == []


def _counts(manifest: Any) -> dict[str, int]:
    return {dataset: line.rows for dataset, line in manifest.datasets.items()}

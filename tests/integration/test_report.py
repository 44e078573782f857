"""The report of an export that was throttled: who waited, under which name."""

import json
from datetime import timedelta

import pytest

from connectors.emulator import Fault, MailboxKind
from pipeline.cli.report import read_report
from tests.integration.conftest import OpenSite
from tests.integration.site import token

KEYS: dict[str, object] = {"connectors": {"outlook-mail": {}}, "initial_lookback": "3d"}


async def test_a_throttled_mailbox_is_on_the_time_line_by_its_pseudonym(open_site: OpenSite) -> None:
    """One refusal with a Retry-After is one wait of that mailbox, at least as long; nobody is named."""
    site = await open_site(users=4, history=timedelta(days=3), keys=KEYS)
    user = site.tenant.users_of(MailboxKind.NORMAL)[0]
    site.emulator.faults.replace(
        [
            Fault(
                kind="messages", mailbox=user, times=1, status=429, code="ApplicationThrottled",
                message="Application is over its MailboxConcurrency limit.", retry_after=30,
            )
        ]
    )  # fmt: skip

    manifest = await site.run()

    report, notes = await read_report(*site.settings())
    assert report is not None
    assert notes == []
    (lane,) = report.lanes
    assert (lane.scope, lane.service, lane.principal) == ("mailbox", "outlook", token(user))
    assert lane.seconds == pytest.approx(30 * 1.05)  # chance, which is half here, adds a tenth at most
    published = (site.folder / "data" / "_manifests" / f"{manifest.run_id}.facts.json").read_text()
    assert user not in published
    facts = json.loads(published)
    assert sum(facts["datasets"]["mail_messages"]["days"].values()) == manifest.datasets["mail_messages"].rows

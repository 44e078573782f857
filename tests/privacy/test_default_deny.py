"""What nobody decided about does not leave, and a rule that would leak is stopped."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from connectors.emulator import Effect, Fault, Faults, TenantProfile
from connectors.emulator.novelty import NEW_PROPERTY, NEW_TEXT
from pipeline.sanitize import rules as rules_module
from pipeline.sanitize.rules import FieldRule, built_in_rules
from tests.integration.conftest import OpenSite
from tests.privacy.test_planted_strings import written_text


@pytest.mark.parametrize("profile", ["strict", "psoxy"])
async def test_a_property_microsoft_adds_tomorrow_does_not_leave(open_site: OpenSite, profile: str) -> None:
    """Added to every record and structure, whatever was selected: in no output byte, its name in the ledger."""
    site = await open_site(
        users=6,
        history=timedelta(days=4),
        profile=TenantProfile.quiet(),
        keys={"privacy.profile": profile},
        faults=Faults([Fault(effect=Effect.NEW_PROPERTY)]),
    )
    manifest = await site.run()

    assert manifest.datasets["mail_messages"].rows > 50
    assert manifest.status == "complete"
    assert NEW_TEXT not in written_text(site)
    assert "motto" not in written_text(site).replace(NEW_PROPERTY, "")
    ledger = (site.folder / "data" / "_manifests" / f"{manifest.run_id}.fields.json").read_text()
    for dataset in ("entra_users", "mail_messages", "calendar_events", "teams_chat_messages"):
        assert NEW_PROPERTY in json.dumps(json.loads(ledger)["datasets"][dataset])


async def test_a_rule_that_would_leak_a_name_is_stopped_by_the_guard(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keeping a recipient's display name fails the units that hold one; nothing of them is published."""
    leaking = FieldRule(
        "from.emailAddress.name", "string", dict.fromkeys(rules_module.PROFILES, "keep"), "a mistake", ""
    )
    changed = dict(built_in_rules())
    mail = changed["mail_messages"]
    changed["mail_messages"] = replace(mail, fields=(*mail.fields, leaking))
    monkeypatch.setattr("pipeline.app.built_in_rules", lambda: changed)
    site = await open_site(users=6, history=timedelta(days=4), profile=TenantProfile.quiet())
    names = [user["displayName"] for user in site.tenant.truth.users()]

    manifest = await site.run()

    assert manifest.status == "partial"
    assert {line.reason for line in manifest.failed if line.dataset == "mail_messages"} == {"egress_guard"}
    text = written_text(site)
    assert not [name for name in names if name in text]

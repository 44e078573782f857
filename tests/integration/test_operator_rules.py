"""A run with operators' own rules files in place of the built-in rules of a connector."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.emulator import TenantProfile
from pipeline.errors import ConfigurationError
from tests.integration.conftest import OpenSite
from tests.integration.site import Site, token
from tests.unit import psoxy_tables as tables

CONTACTS = tables.endpoint(tables.token("address", "imAddresses[*]"), template="/v1.0/users/{userId}/contacts")
# The proxy's own file lets sign-in names and addresses of members pass; the egress guard would stop those units.
CLOSED = (tables.redact("email", "userPrincipalName"), tables.token("identity.id"))
TEAMS = [
    endpoint | {"transforms": [*CLOSED, *endpoint["transforms"]]}  # type: ignore[misc]  # a list, always
    for endpoint in [
        *tables.TEAMS,
        tables.endpoint(tables.MAILADDR, tables.NAMED, template="/v1.0/teams/{teamId}"),
    ]
]
DIRECTORY = [*tables.ENTRA_ID, tables.endpoint(*tables.MAILBOX, template="/v1.0/users/{userId}/mailboxSettings")]


def rules_files(folder: Path) -> dict[str, object]:
    mail, directory = folder / "mail.yaml", folder / "directory.yaml"
    mail.write_text(tables.render([*tables.OUTLOOK_MAIL, CONTACTS]))
    directory.write_text(tables.render(DIRECTORY))
    return {"privacy.rules": {"outlook-mail": str(mail), "entra-id": str(directory)}}


async def test_a_file_decides_about_its_connector_and_the_built_in_rules_about_the_others(
    open_site: OpenSite, tmp_path: Path
) -> None:
    """Ids stay as the file lets them, addresses join, columns and counts are those of any run."""
    site = await open_site(
        users=6, history=timedelta(days=4), profile=TenantProfile.quiet(), keys=rules_files(tmp_path)
    )
    manifest = await site.run()

    assert manifest.status == "complete"
    assert manifest.datasets["mail_messages"].rows > 50
    users = {user["id"]: user["mail"] for user in site.tenant.truth.users()}
    exported = dict(site.query("entra_users", "id, mail"))
    assert exported.keys() <= users.keys()
    assert all(mail is None or mail == token(users[id_]) for id_, mail in exported.items())
    owners = {owner for (owner,) in site.query("mail_messages", "DISTINCT _owner")}
    assert owners
    assert owners <= users.keys()
    senders = {sender for (sender,) in site.query("mail_messages", 'DISTINCT "from".emailAddress.address')}
    assert senders & {token(mail) for mail in users.values() if mail}
    assert all(id_.startswith("t~") for (id_,) in site.query("calendar_events", "DISTINCT id"))
    ledger = json.loads((site.folder / "data" / "_manifests" / f"{manifest.run_id}.fields.json").read_text())
    fields = {line["path"]: line for line in ledger["datasets"]["mail_messages"]["fields"]}
    assert fields["id"]["fate"] == "kept"
    assert fields["from.emailAddress.address"]["fate"] == "pseudonymized"
    assert not [line for line in fields.values() if line["rule"] == "unfit"]


async def test_another_content_of_a_file_is_another_set_of_rules(open_site: OpenSite, tmp_path: Path) -> None:
    """History would split silently; so the next run has to be told."""
    site = await open_site(
        users=3, history=timedelta(days=2), profile=TenantProfile.quiet(), keys=rules_files(tmp_path)
    )
    first = await site.run()
    with (tmp_path / "mail.yaml").open("a") as file:
        file.write("# reviewed\n")

    with pytest.raises(ConfigurationError, match="rules or options differ"):
        await site.run()

    second = await site.run(accept_new_pseudonyms=True)
    assert second.rules_fingerprint != first.rules_fingerprint


async def test_a_file_that_does_not_know_a_dataset_stops_the_command(open_site: OpenSite, tmp_path: Path) -> None:
    """Before anything is read or written; the fault says what to add."""
    keys = rules_files(tmp_path)
    (tmp_path / "mail.yaml").write_text(tables.render(tables.OUTLOOK_MAIL))
    site = await open_site(users=3, history=timedelta(days=1), profile=TenantProfile.quiet(), keys=keys)

    with pytest.raises(ConfigurationError, match="no endpoint for mail_contacts; add one for /v1"):
        await site.run()

    assert not (site.folder / "data").exists()


async def test_a_file_for_the_calendar_decides_about_events(open_site: OpenSite, tmp_path: Path) -> None:
    """Ids stay as the file lets them, organizers join as pseudonyms, and no event is lost."""
    calendar = tmp_path / "calendar.yaml"
    calendar.write_text(tables.render(tables.OUTLOOK_CAL))
    keys: dict[str, object] = {"privacy.rules": {"outlook-calendar": str(calendar)}}
    site = await open_site(users=6, history=timedelta(days=4), profile=TenantProfile.quiet(), keys=keys)
    manifest = await site.run()

    assert manifest.status == "complete"
    truth = {
        event["id"]: event
        for user in site.tenant.user_ids
        for event in site.tenant.truth.events(user, site.tenant.clock.now - timedelta(days=4), site.tenant.clock.now)
    }
    rows = site.query("calendar_events", "id, organizer.emailAddress.address, subject")
    assert truth
    assert truth.keys() <= {id_ for id_, _, _ in rows}
    organizers = {token(event["organizer"]["emailAddress"]["address"]) for event in truth.values()}
    assert organizers <= {organizer for _, organizer, _ in rows}
    assert not {subject for _, _, subject in rows} & {event["subject"] for event in truth.values()} - {""}
    assert fates(site, manifest.run_id, "calendar_events")["organizer.emailAddress.address"] == "pseudonymized"


async def test_a_file_for_teams_decides_about_chats_and_their_messages(open_site: OpenSite, tmp_path: Path) -> None:
    """Every dataset of the connector is read by the file; what its columns cannot hold does not leave."""
    teams = tmp_path / "teams.yaml"
    teams.write_text(tables.render(TEAMS))
    keys = {"privacy.rules": {"msft-teams": str(teams)}, "privacy.encryption_key": "env:KEY"}  # its tokens need one
    site = await open_site(users=12, history=timedelta(days=6), profile=TenantProfile.quiet(), keys=keys)
    site.environ["KEY"] = "operator-key-0123456789"
    manifest = await site.run()

    assert manifest.status == "complete"
    now = site.tenant.clock.now
    messages = {message["id"]: message for message in site.tenant.truth.chat_messages(now - timedelta(days=5), now)}
    rows = site.query("teams_chat_messages", 'id, chatId, "from"."user".id')
    settled = {id_: messages[id_] for id_, _, _ in rows if id_ in messages}
    assert len(settled) > 10
    for id_, chat, sender in rows:
        if id_ in settled:
            assert chat == settled[id_]["chatId"]
            assert sender == ((settled[id_]["from"] or {}).get("user") or {}).get("id")
    chats = {chat for (chat,) in site.query("teams_chats", "id")}
    assert {chat for _, chat, _ in rows} <= chats
    assert fates(site, manifest.run_id, "teams_chat_messages")["chatId"] == "kept"


def fates(site: Site, run_id: str, dataset: str) -> dict[str, str]:
    """What the ledger says became of each path."""
    ledger = json.loads((site.folder / "data" / "_manifests" / f"{run_id}.fields.json").read_text())
    return {line["path"]: line["fate"] for line in ledger["datasets"][dataset]["fields"]}

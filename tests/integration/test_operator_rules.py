"""A run with operators' own rules files in place of the built-in rules of a connector."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.emulator import TenantProfile
from pipeline.errors import ConfigurationError
from tests.integration.conftest import OpenSite
from tests.integration.site import token
from tests.unit import psoxy_tables as tables

CONTACTS = tables.endpoint(tables.token("address", "imAddresses[*]"), template="/v1.0/users/{userId}/contacts")
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

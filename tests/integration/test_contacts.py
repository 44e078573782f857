"""Address books against the emulated tenant: whole the first night, then changes, whole again in a backfill."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from connectors.emulator import ALL_ROLES, MailboxKind
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, token

DAY = timedelta(days=1)
KEYS: dict[str, object] = {"connectors": {"outlook-mail": {}}}
BEGINNING = datetime.fromisoformat("2000-01-01T00:00:00Z")
Rows = Counter[tuple[str, ...]]


def true_contacts(site: Site, start: datetime, end: datetime) -> Rows:
    """Contacts that were made or changed in [start, end), with the folder they lie in."""
    return Counter(
        (token(user), token(contact["id"]), token(contact["parentFolderId"]))
        for user in site.tenant.user_ids
        for contact in site.tenant.truth.contacts(user)
        if any(start <= at < end for at in _instants(contact))
    )


def _instants(contact: dict[str, Any]) -> Iterable[datetime]:
    return [datetime.fromisoformat(contact[name]) for name in ("createdDateTime", "lastModifiedDateTime")]


def exported(site: Site, run: str = "*") -> Rows:
    return Counter(site.query("mail_contacts", "_owner, id, parentFolderId", run=run))


def owner_of_most(site: Site) -> str:
    return max(site.tenant.users_of(MailboxKind.NORMAL), key=lambda user: len(site.tenant.truth.contacts(user)))


async def test_the_first_night_holds_whole_address_books(open_site: OpenSite) -> None:
    """However old an entry is, in whichever folder; each once, although some mailboxes list a folder twice."""
    site = await open_site(users=20, keys=KEYS)
    manifest = await site.run()

    expected = true_contacts(site, BEGINNING, NOW)
    assert manifest.status == "complete"
    assert expected == exported(site)
    assert len({folder for _, _, folder in expected}) > len({owner for owner, _, _ in expected})
    addresses = {row[0] for row in site.query("mail_contacts", "unnest(emailAddresses).address")}
    assert addresses
    assert all(address.startswith("t~") and address.endswith(".example") for address in addresses)


async def test_the_next_night_holds_what_was_made_changed_or_moved(open_site: OpenSite) -> None:
    """A contact that was moved keeps its id; what was deleted is not told of; a backfill holds all that is left."""
    site = await open_site(users=20, keys=KEYS)
    tenant, user = site.tenant, owner_of_most(site)
    await site.run()
    tenant.clock.advance(DAY)
    at = NOW + timedelta(hours=7)
    made = tenant.deliver_contacts(user, count=2, folder="nearby", at=at)
    changed, moved, removed = [contact["id"] for contact in tenant.truth.contacts(user)][:3]
    tenant.edit_contact(user, changed, at=at)
    tenant.edit_contact(user, moved, folder="press", at=at)
    tenant.remove_contact(user, removed)
    second = await site.run()

    expected = true_contacts(site, NOW, NOW + DAY)
    assert expected == exported(site, second.run_id)
    ids = {contact for _, contact, _ in expected}
    assert {token(contact) for contact in (*made, changed, moved)} <= ids
    assert token(removed) not in ids
    tenant.clock.advance(timedelta(seconds=2))
    whole = await site.backfill(NOW, NOW + DAY)
    assert true_contacts(site, BEGINNING, NOW + DAY) == exported(site, whole.run_id)


async def test_a_history_that_is_cut_holds_each_contact_as_it_was_by_then(open_site: OpenSite) -> None:
    """Cut at the very instant of a change: what was made by the end of each piece, no row twice."""
    site = await open_site(users=12, keys=KEYS)
    instants = [max(_instants(contact)) for contact in site.tenant.truth.contacts(owner_of_most(site))]
    edges = sorted({NOW - 5 * DAY, *instants[:2], NOW - DAY})
    for start, end in pairwise(edges):
        manifest = await site.backfill(start, end)
        assert true_contacts(site, BEGINNING, end) == exported(site, manifest.run_id)
        site.tenant.clock.advance(timedelta(seconds=2))


async def test_without_the_permission_the_dataset_fails_alone(open_site: OpenSite) -> None:
    """Named as `permission`, not as a skip of every mailbox; mail is exported."""
    site = await open_site(users=12, keys=KEYS)
    app = site.emulator.register(roles=tuple(role for role in ALL_ROLES if role != "Contacts.Read"))
    site.keys = {**KEYS, "auth.client_id": app.client_id, "auth.client_secret": "env:OTHER_SECRET"}
    site.environ["OTHER_SECRET"] = app.client_secret
    manifest = await site.run()

    assert {(line.dataset, line.reason, line.principal) for line in manifest.failed} == {
        ("mail_contacts", "permission", None)
    }
    assert manifest.status == "partial"
    assert manifest.datasets["mail_messages"].rows > 0

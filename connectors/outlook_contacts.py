"""Address books: the contacts of a mailbox, in all its folders.

  mail_contacts  GET /users/{id}/contacts, the default folder, and
                 GET /users/{id}/contactFolders/{folder}/contacts for every other one
                 https://learn.microsoft.com/graph/api/user-list-contacts (checked 2026-11)

Contacts are read by their last change: the first run exports whole address books, later ones what was made, changed
or moved since. A snapshot every night would cost as many requests and write more rows than the night's mail. What
was deleted is not told of; a backfill exports whole address books, and what is missing there was deleted.
No upper bound is asked for, since a contact that changes once more would otherwise miss its window; whether it
belongs there is checked afterwards, by its creation and its last change.
Some mailboxes list the default folder among the others; within a unit each contact is kept once.
Ids are immutable ones, so that a contact keeps its id when it is moved:
https://learn.microsoft.com/graph/outlook-immutable-id (checked 2026-11)
"""

from collections.abc import AsyncIterator, Iterable

from config.instants import format_instant
from connectors.graph.client import GraphClient
from connectors.graph.connector import Select, select_of
from connectors.graph.limits import CONTACTS_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import Request
from connectors.graph.source import Collection, GraphSource, Reading
from connectors.graph.traffic import mailbox_traffic
from connectors.outlook_folders import IMMUTABLE_IDS, contact_folders
from pipeline.model import Page, PrincipalKind, Unit

MODIFIED = "lastModifiedDateTime"


class ContactSource(GraphSource):
    """The contacts of a mailbox that were made or changed in the window."""

    def __init__(self, client: GraphClient, *, connector: str, select: Select) -> None:
        self._properties = select_of(select, "mail_contacts", "id")
        collection = Collection(
            dataset="mail_contacts",
            connector=connector,
            principals=PrincipalKind.USER,
            requests=self._default_folder,
            roles=("Contacts.Read",),
            windowed=True,
            from_beginning=True,
            instants=("createdDateTime", MODIFIED),
            may_be_missing=True,
        )
        super().__init__(collection, client)

    async def read(self, unit: Unit, reading: Reading) -> AsyncIterator[Page]:
        """The default folder, then all others."""
        async for page in super().read(unit, reading):
            yield page
        user_id = unit.principal.id
        for folder in await contact_folders(self._client, user_id, budget=reading.budget):
            request = self._request(unit, segments("users", user_id, "contactFolders", folder, "contacts"))
            async for page in self.answers(request, reading):
                yield page

    def _default_folder(self, unit: Unit) -> Iterable[Request]:
        yield self._request(unit, segments("users", unit.principal.id, "contacts"))

    def _request(self, unit: Unit, path: str) -> Request:
        if unit.window is None:
            raise ValueError("contacts are read by window")
        return Request(
            path=path,
            query={
                "$filter": f"{MODIFIED} ge {format_instant(unit.window.start)}",
                "$select": self._properties,
            },
            traffic=mailbox_traffic(unit.principal.id),
            prefer=(IMMUTABLE_IDS,),
            page_items=CONTACTS_PAGE_ITEMS,
            sizes_by_header=True,
        )

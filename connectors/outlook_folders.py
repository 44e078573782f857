"""The folder trees of a mailbox: of mail, whose folders are named by display path, and of contacts.

  GET /users/{id}/mailFolders, .../mailFolders/{id}/childFolders
      https://learn.microsoft.com/graph/api/user-list-mailfolders
      https://learn.microsoft.com/graph/api/mailfolder-list-childfolders
  GET /users/{id}/contactFolders, .../contactFolders/{id}/childFolders
      https://learn.microsoft.com/graph/api/user-list-contactfolders
      https://learn.microsoft.com/graph/api/contactfolder-list-childfolders
(all checked 2026-11)

A list gives one level, so each folder is asked for those below it. Search folders
show messages of other folders again and are none of the tree. Well-known names are the same in every language:
https://learn.microsoft.com/graph/api/resources/mailfolder (checked 2026-11)
"""

from collections.abc import Sequence

import msgspec

from connectors.graph.client import GraphClient
from connectors.graph.errors import End, Refusal
from connectors.graph.limits import MAIL_FOLDERS_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import Request, read_pages, typed
from connectors.graph.retry import UnitBudget
from connectors.graph.traffic import mailbox_traffic

WELL_KNOWN = frozenset(
    {
        *("archive", "clutter", "conflicts", "conversationhistory", "deleteditems", "drafts", "inbox", "junkemail"),
        *("localfailures", "msgfolderroot", "outbox", "recoverableitemsdeletions", "scheduled", "searchfolders"),
        *("sentitems", "serverfailures", "syncissues"),
    }
)
IMMUTABLE_IDS = 'IdType="ImmutableId"'
SEARCH_FOLDER = "#microsoft.graph.mailSearchFolder"
LARGE_PAGES = (f"odata.maxpagesize={MAIL_FOLDERS_PAGE_ITEMS}",)


class _Folder(msgspec.Struct, rename="camel", frozen=True):
    id: str
    display_name: str | None = None
    kind: str | None = msgspec.field(name="@odata.type", default=None)


async def mail_folder(client: GraphClient, user_id: str, path: str, *, budget: UnitBudget) -> str | None:
    """The id of the folder at `Top/Below`, letter case aside; None where the mailbox has none.

    Raises: Refusal, CollectionBroken.
    """
    found: str | None = None
    for name in path.strip("/").split("/"):
        folders = await _children(client, user_id, "mailFolders", found, budget=budget)
        found = next(
            (
                folder.id
                for folder in folders
                if folder.kind != SEARCH_FOLDER and (folder.display_name or "").casefold() == name.strip().casefold()
            ),
            None,
        )
        if found is None:
            return None
    return found


async def contact_folders(client: GraphClient, user_id: str, *, budget: UnitBudget) -> Sequence[str]:
    """The ids of all contact folders but, as a rule, the default one. Raises: Refusal, CollectionBroken."""
    found: dict[str, None] = {}
    waiting: list[str | None] = [None]
    while waiting:
        for folder in await _children(client, user_id, "contactFolders", waiting.pop(0), budget=budget):
            if folder.id not in found:
                found[folder.id] = None
                waiting.append(folder.id)
    return list(found)


async def _children(
    client: GraphClient, user_id: str, kind: str, parent: str | None, *, budget: UnitBudget
) -> list[_Folder]:
    path = ("users", user_id, kind) if parent is None else ("users", user_id, kind, parent, "childFolders")
    request = Request(path=segments(*path), traffic=mailbox_traffic(user_id), prefer=LARGE_PAGES)
    try:
        return [
            folder
            async for page in read_pages(client, request, budget=budget, size=None)
            for folder in typed(page, _folders)
        ]
    except Refusal as refusal:
        if parent is not None and refusal.row.end is End.ITEM_GONE:  # deleted since it was listed
            return []
        raise


_folders = msgspec.json.Decoder(list[_Folder])

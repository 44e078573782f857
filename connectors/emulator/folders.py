"""The folder tree of a mailbox: the same in all of them, with ids of its own in each.

https://learn.microsoft.com/graph/api/resources/mailfolder (checked 2026-11): hidden folders are listed on request
only, a search folder shows messages of other folders again, recoverable items are reached by name and never listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.emulator.words import MARKER

ROOT = "msgfolderroot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """`name` is the well-known name where Graph has one, else our own."""

    name: str
    title: str
    number: int
    parent: str = ROOT
    is_hidden: bool = False
    is_search: bool = False
    is_well_known: bool = True


_RECOVERABLE = "recoverableitems"  # beside the root that listings begin with
_SYSTEM = "nonipm"
_TREE = (
    Folder(name="archive", title="Archive", number=0),
    Folder(name="clutter", title="Clutter", number=1),
    Folder(name="conversationhistory", title="Conversation History", number=2),
    Folder(name="deleteditems", title="Deleted Items", number=3),
    Folder(name="drafts", title="Drafts", number=4),
    Folder(name="inbox", title="Inbox", number=5),
    Folder(name="junkemail", title="Junk Email", number=6),
    Folder(name="outbox", title="Outbox", number=7),
    Folder(name="scheduled", title="Scheduled", number=8),
    Folder(name="sentitems", title="Sent Items", number=9),
    Folder(name="clients", title=f"Clients {MARKER}vole-folder-01", number=10, is_well_known=False),
    Folder(
        name="contracts", title=f"Contracts {MARKER}vole-folder-02", number=11, parent="clients", is_well_known=False
    ),
    Folder(
        name="disputes", title=f"Disputes {MARKER}vole-folder-03", number=12, parent="contracts", is_well_known=False
    ),
    Folder(name="unread", title=f"Unread {MARKER}vole-folder-04", number=13, is_search=True, is_well_known=False),
    Folder(name="syncissues", title="Sync Issues", number=14, is_hidden=True),
    Folder(name="conflicts", title="Conflicts", number=15, parent="syncissues", is_hidden=True),
    Folder(name="localfailures", title="Local Failures", number=16, parent="syncissues", is_hidden=True),
    Folder(name="serverfailures", title="Server Failures", number=17, parent="syncissues", is_hidden=True),
    Folder(
        name="teamchat", title="Team Chat", number=18, parent="conversationhistory", is_hidden=True, is_well_known=False
    ),
    Folder(name="recoverableitemsdeletions", title="Deletions", number=19, parent=_RECOVERABLE),
    Folder(name="searchfolders", title="Search Folders", number=20, parent=_SYSTEM),
    Folder(name=ROOT, title="Top of Information Store", number=21, parent=_SYSTEM),
)
FOLDERS: Mapping[str, Folder] = {folder.name: folder for folder in _TREE}


def children(parent: str, *, include_hidden: bool) -> list[Folder]:
    """The folders directly below `parent`, in the order of listing."""
    return [
        folder for folder in FOLDERS.values() if folder.parent == parent and (include_hidden or not folder.is_hidden)
    ]

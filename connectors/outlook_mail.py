"""Outlook Mail: one row for each message of a mailbox, read by the time it was received.

  mail_messages  GET /users/{id}/messages, all folders but the recoverable items; or
                 GET /users/{id}/mailFolders/{folder}/messages for chosen folders
                 https://learn.microsoft.com/graph/api/user-list-messages (checked 2026-11)

Windows instead of delta queries: one collection for a mailbox instead of one for each folder, no token to lose,
and a night that can be read again with the same result. `receivedDateTime` never changes, and sent items and
drafts have it too. Graph requires the property of $orderby to be the first of $filter.
Ids are immutable ones, so that a message keeps its id when it is moved:
https://learn.microsoft.com/graph/outlook-immutable-id (checked 2026-11)
"""

from collections.abc import Iterable
from datetime import timedelta

from config.instants import format_instant
from connectors.graph.client import GraphClient
from connectors.graph.connector import GraphConnector, Select, select_of
from connectors.graph.limits import MESSAGES_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import Request
from connectors.graph.source import Collection, GraphSource
from connectors.graph.traffic import mailbox_traffic
from connectors.options import ConnectorOptions
from pipeline.model import PrincipalKind, Unit, Window

NAME = "outlook-mail"
IMMUTABLE_IDS = 'IdType="ImmutableId"'
# A page of Outlook is found by counting from the start of the collection: short collections stay fast.
LONGEST_WINDOW = timedelta(days=31)


def connector(client: GraphClient, *, select: Select, options: ConnectorOptions) -> GraphConnector:
    """The messages of whole mailboxes, or of `options.mail_folders`: well-known names or folder ids."""
    return GraphConnector(NAME, [GraphSource(_messages(select, options.mail_folders), client)])


def _messages(select: Select, folders: tuple[str, ...] | None) -> Collection:
    properties = select_of(select, "mail_messages", "id")

    def requests(unit: Unit) -> Iterable[Request]:
        user_id = unit.principal.id
        paths = (
            [segments("users", user_id, "messages")]
            if folders is None
            else [segments("users", user_id, "mailFolders", folder, "messages") for folder in folders]
        )
        for path in paths:
            yield Request(
                path=path,
                query={
                    "$filter": _received_in(unit.window),
                    "$orderby": "receivedDateTime",
                    "$select": properties,
                },
                traffic=mailbox_traffic(user_id),
                prefer=(IMMUTABLE_IDS,),
                page_items=MESSAGES_PAGE_ITEMS,
                sizes_by_header=True,
            )

    return Collection(
        dataset="mail_messages",
        connector=NAME,
        principals=PrincipalKind.USER,
        requests=requests,
        roles=("Mail.ReadBasic.All", "Mail.Read"),
        windowed=True,
        longest_window=LONGEST_WINDOW,
        instants=("receivedDateTime",),
        may_be_missing=folders is not None,
    )


def _received_in(window: Window | None) -> str:
    if window is None:
        raise ValueError("mail is read by window")
    start, end = format_instant(window.start), format_instant(window.end)
    return f"receivedDateTime ge {start} and receivedDateTime lt {end}"

"""Outlook Mail: one row for each message of a mailbox, read by the time it was received; and its contacts.

  mail_messages  GET /users/{id}/messages, all folders but the recoverable items; or
                 GET /users/{id}/mailFolders/{folder}/messages for chosen folders
                 https://learn.microsoft.com/graph/api/user-list-messages (checked 2026-11)
  mail_contacts  `connectors.outlook_contacts`

Windows instead of delta queries: one collection for a mailbox instead of one for each folder, no token to lose,
and a night that can be read again with the same result. `receivedDateTime` never changes, and sent items and
drafts have it too. Graph requires the property of $orderby to be the first of $filter.
What the filter matches is counted on the first page, in each folder for itself:
https://learn.microsoft.com/graph/query-parameters#count-parameter (checked 2026-11)
Ids are immutable ones, so that a message keeps its id when it is moved:
https://learn.microsoft.com/graph/outlook-immutable-id (checked 2026-11)

A folder is chosen by its well-known name, or by the path of names that people see (`Clients/Contracts`). The latter
is looked up in each mailbox; a mailbox that has no such folder holds nothing of it, a path that no mailbox has is a
mistake in the settings.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from difflib import get_close_matches
from random import Random

from config.instants import format_instant
from connectors.graph.client import GraphClient
from connectors.graph.connector import Select, select_of
from connectors.graph.errors import Refusal
from connectors.graph.limits import MESSAGES_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import CollectionBroken, Request, read_first
from connectors.graph.retry import UnitBudget
from connectors.graph.sampling import Fill
from connectors.graph.side_by_side import side_by_side
from connectors.graph.source import Collection, GraphSource
from connectors.graph.traffic import mailbox_traffic
from connectors.options import ConnectorOptions
from connectors.outlook_contacts import ContactSource
from connectors.outlook_folders import IMMUTABLE_IDS, WELL_KNOWN, mail_folder
from pipeline.completeness import Method
from pipeline.errors import ConfigurationError
from pipeline.metering import metered
from pipeline.model import Principal, PrincipalKind, Unit, Window
from pipeline.ports import Preparation, Sample, Source

NAME = "outlook-mail"
# A page of Outlook is found by counting from the start of the collection: short collections stay fast.
LONGEST_WINDOW = timedelta(days=31)
LOOKERS = 16  # mailboxes in which a folder is looked for at the same time


def connector(client: GraphClient, *, select: Select, options: ConnectorOptions) -> "MailConnector":
    """Contacts, and the messages of whole mailboxes or of `options.mail_folders`."""
    messages = MessageSource(client, select=select, folders=options.mail_folders)
    return MailConnector(messages, ContactSource(client, connector=NAME, select=select))


class MailConnector:
    """A `pipeline.ports.Connector` that knows before it reads whether the chosen folders exist anywhere."""

    name = NAME

    def __init__(self, messages: "MessageSource", contacts: ContactSource) -> None:
        self._messages = messages
        self.sources: Sequence[Source] = (messages, contacts)

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        """Look for each folder that is chosen by its path, until one mailbox has it.

        Raises:
            ConfigurationError: all mailboxes that could be looked into do without it.
        """
        del saved
        unknown = [path for path in self._messages.paths if await self._is_nowhere(path, users)]
        if unknown:
            raise ConfigurationError(*(_no_such_folder(path) for path in unknown))
        return Preparation()

    async def glimpse(self, users: Sequence[Principal]) -> Preparation:
        """Nothing; whether a folder exists anywhere may take a look into every mailbox."""
        del users
        return Preparation()

    async def _is_nowhere(self, path: str, users: Sequence[Principal]) -> bool:
        missing = False
        for first in range(0, len(users), LOOKERS):
            few = [(user, path) for user in users[first : first + LOOKERS]]
            found = await side_by_side(self._messages.has, few, at_most=LOOKERS)
            if True in found:
                return False
            missing |= False in found
        return missing


class MessageSource(GraphSource):
    """The messages of a mailbox, or of some of its folders: well-known names, or paths of names as people see them."""

    def __init__(self, client: GraphClient, *, select: Select, folders: tuple[str, ...] | None) -> None:
        self._properties = select_of(select, "mail_messages", "id")
        # Letter case aside, the same name is the same folder, whose messages must not be counted twice.
        self._folders = None if folders is None else tuple({name.casefold(): name for name in folders}.values())
        self._fill = Fill()
        collection = Collection(
            dataset="mail_messages",
            connector=NAME,
            principals=PrincipalKind.USER,
            requests=self._whole_mailbox,
            roles=("Mail.ReadBasic.All", "Mail.Read"),
            windowed=True,
            longest_window=LONGEST_WINDOW,
            instants=("receivedDateTime",),
            completeness=Method.COUNT,
            may_be_missing=folders is not None,
        )
        super().__init__(collection, client)

    async def sample(self, unit: Unit, *, chance: Random) -> Sample:
        """The first page with the number of all messages; chosen folders are read, there are few messages in them."""
        del chance
        with metered() as meter:
            try:
                if self._folders is not None:
                    return Sample(requests=meter.requests, pages=await self.whole(unit))
                (request,) = self._whole_mailbox(unit)
                first = await read_first(self._client, request, budget=self._client.budget())
            except Refusal as refusal:
                raise self.outcome(refusal, unit) from None
        count = first.items if not first.has_more else max(first.count or 0, first.items)
        pages = 1.0 if not first.has_more else self._fill.pages_of(count, page_items=MESSAGES_PAGE_ITEMS)
        if first.has_more:
            self._fill.note(asked=MESSAGES_PAGE_ITEMS, given=first.items)
        return Sample(requests=meter.times(pages), pages=[first.page], weight=count / max(first.items, 1))

    @property
    def paths(self) -> Sequence[str]:
        """The chosen folders that go by no well-known name."""
        return [folder for folder in self._folders or () if folder.lower() not in WELL_KNOWN]

    async def has(self, user_and_path: tuple[Principal, str]) -> bool | None:
        """Whether a mailbox has such a folder; None where it cannot be looked into."""
        user, path = user_and_path
        try:
            return await mail_folder(self._client, user.id, path, budget=self._client.budget()) is not None
        except (Refusal, CollectionBroken):
            return None

    async def requests(self, unit: Unit, budget: UnitBudget) -> AsyncIterator[Request]:
        """The whole mailbox, or folder by folder."""
        if self._folders is None:
            async for request in super().requests(unit, budget):
                yield request
            return
        user_id = unit.principal.id
        for name in self._folders:
            folder: str | None = name
            if name.lower() not in WELL_KNOWN:
                folder = await mail_folder(self._client, user_id, name, budget=budget)
            if folder is not None:
                yield self._request(unit, segments("users", user_id, "mailFolders", folder, "messages"))

    def _whole_mailbox(self, unit: Unit) -> Iterable[Request]:
        yield self._request(unit, segments("users", unit.principal.id, "messages"))

    def _request(self, unit: Unit, path: str) -> Request:
        return Request(
            path=path,
            query={
                "$filter": _received_in(unit.window),
                "$orderby": "receivedDateTime",
                "$select": self._properties,
            },
            traffic=mailbox_traffic(unit.principal.id),
            prefer=(IMMUTABLE_IDS,),
            page_items=MESSAGES_PAGE_ITEMS,
            sizes_by_header=True,
            is_counted=True,
        )


def _received_in(window: Window | None) -> str:
    if window is None:
        raise ValueError("mail is read by window")
    start, end = format_instant(window.start), format_instant(window.end)
    return f"receivedDateTime ge {start} and receivedDateTime lt {end}"


def _no_such_folder(path: str) -> str:
    meant = get_close_matches(path.lower(), WELL_KNOWN, n=1)
    hint = f"did you mean {meant[0]}?" if meant else f"well-known names are {', '.join(sorted(WELL_KNOWN))}"
    return f"connectors.outlook-mail.folders: no mailbox has a folder {path}; {hint}"

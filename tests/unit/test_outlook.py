"""Outlook: the requests that read mail and calendars by window."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from aiohttp import web

from connectors import outlook_calendar, outlook_mail
from connectors.graph.client import GraphClient
from connectors.options import ConnectorOptions
from pipeline.errors import ConfigurationError
from pipeline.model import Principal, PrincipalKind, Unit, Window
from pipeline.ports import Connector, Source
from tests.graph_server import page, refusal, scripted_graph

USER = Principal(PrincipalKind.USER, "u1")
WINDOW = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, 1, 2, 3, 456_789, tzinfo=UTC))
SELECT = {
    "mail_messages": ("subject", "receivedDateTime"),
    "mail_contacts": ("createdDateTime",),
    "calendar_events": ("createdDateTime", "lastModifiedDateTime", "subject", "start"),
}


def _mail(client: GraphClient, *folders: str) -> Connector:
    options = ConnectorOptions(mail_folders=folders or None)
    return outlook_mail.connector(client, select=SELECT, options=options)


def _calendar(client: GraphClient) -> Connector:
    options = ConnectorOptions(calendar_ahead=timedelta(days=3))
    return outlook_calendar.connector(client, select=SELECT, options=options)


async def _drain(source: Source) -> None:
    async for _ in source.pages(Unit(source.dataset, USER, WINDOW)):
        pass


async def test_a_mailbox_is_read_by_received_time() -> None:
    """Half-open, to the microsecond, in that order, with the properties the rules keep and immutable ids."""
    async with scripted_graph(page()) as graph:
        await _drain(_mail(graph.client).sources[0])
        (request,) = graph.requests
    query = parse_qs(urlsplit(request.raw_path).query)
    assert request.path == "/v1.0/users/u1/messages"
    assert query == {
        "$filter": ["receivedDateTime ge 2026-03-01T00:00:00Z and receivedDateTime lt 2026-03-02T01:02:03.456789Z"],
        "$orderby": ["receivedDateTime"],
        "$select": ["id,subject,receivedDateTime"],
        "$count": ["true"],
        "$top": ["1000"],
    }
    assert request.headers["Prefer"] == 'IdType="ImmutableId"'


async def test_chosen_folders_are_read_one_by_one() -> None:
    """The same window in each; those without a well-known name are looked up, level by level."""
    top = page({"id": "AAMk=/1", "displayName": "Other"}, {"id": "AAMk=/2", "displayName": "CLIENTS"})
    below = page({"id": "AAMk=/3", "displayName": "Contracts"})
    async with scripted_graph(page(), top, below, page()) as graph:
        await _drain(_mail(graph.client, "SentItems", "Clients/Contracts").sources[0])
        paths = [urlsplit(path).path for path in graph.paths]
    assert paths == [
        "/v1.0/users/u1/mailFolders/SentItems/messages",
        "/v1.0/users/u1/mailFolders",
        "/v1.0/users/u1/mailFolders/AAMk%3D%2F2/childFolders",
        "/v1.0/users/u1/mailFolders/AAMk%3D%2F3/messages",
    ]


async def test_a_search_folder_is_not_what_was_chosen() -> None:
    """It shows messages of other folders again."""
    search = {"@odata.type": "#microsoft.graph.mailSearchFolder", "id": "1", "displayName": "Unread"}
    async with scripted_graph(page(search)) as graph:
        await _drain(_mail(graph.client, "Unread").sources[0])
        assert [urlsplit(path).path for path in graph.paths] == ["/v1.0/users/u1/mailFolders"]


async def test_a_folder_that_no_mailbox_has_is_a_mistake_in_the_settings() -> None:
    """Named, with the well-known name that may be meant; a mailbox that cannot be read proves nothing."""
    refused = refusal(404, "MailboxNotEnabledForRESTAPI")
    users = [USER, Principal(PrincipalKind.USER, "u2")]
    async with scripted_graph(refused, page({"id": "1", "displayName": "Inbox"})) as graph:
        with pytest.raises(ConfigurationError) as caught:
            await _mail(graph.client, "SentItem").prepare(users, saved=None)
    assert caught.value.faults == (
        "connectors.outlook-mail.folders: no mailbox has a folder SentItem; did you mean sentitems?",
    )
    async with scripted_graph(refused) as graph:
        await _mail(graph.client, "Projects").prepare(users, saved=None)


async def test_a_folder_that_one_mailbox_has_is_fine() -> None:
    """And no further mailbox is looked into; well-known names are looked up nowhere."""
    users = [Principal(PrincipalKind.USER, f"u{number:02}") for number in range(50)]
    async with scripted_graph(page({"id": "1", "displayName": "Projects"})) as graph:
        await _mail(graph.client, "SentItems", "Projects").prepare(users, saved=None)
        assert len(graph.requests) == 16


async def test_contacts_come_from_every_folder() -> None:
    """The default one, those below, and those below these, each once however often it is listed."""
    folders = {
        "/v1.0/users/u1/contactFolders": page({"id": "a"}, {"id": "b"}),
        "/v1.0/users/u1/contactFolders/a/childFolders": page({"id": "c"}, {"id": "a"}),
        "/v1.0/users/u1/contactFolders/b/childFolders": refusal(404, "ErrorItemNotFound"),
    }

    def handle(request: web.Request) -> Any:
        return folders.get(request.path, page())(request)

    async with scripted_graph(handle) as graph:
        (_, contacts) = _mail(graph.client).sources
        await _drain(contacts)
        asked = [request for request in graph.requests if request.path.endswith("/contacts")]
    assert [request.path.removeprefix("/v1.0/users/u1/") for request in asked] == [
        "contacts",
        "contactFolders/a/contacts",
        "contactFolders/b/contacts",
        "contactFolders/c/contacts",
    ]
    assert parse_qs(urlsplit(asked[-1].raw_path).query) == {
        "$filter": ["lastModifiedDateTime ge 2026-03-01T00:00:00Z"],
        "$select": ["id,createdDateTime"],
        "$top": ["999"],
    }
    assert {request.headers["Prefer"] for request in asked} == {'IdType="ImmutableId"'}


async def test_mail_declares_how_it_is_planned() -> None:
    """Windowed, checked by received time, without overlap."""
    async with scripted_graph(page()) as graph:
        source, _ = _mail(graph.client).sources
    assert (source.windowed, source.instants) == (True, ("receivedDateTime",))
    assert (source.overlap, source.settle, source.ahead) == (timedelta(0),) * 3
    assert source.longest_window == timedelta(days=31)
    assert source.filter(Unit("mail_messages", USER, WINDOW)) is None


async def test_a_calendar_is_read_as_a_view_in_utc() -> None:
    """Without the two properties a view does not select."""
    async with scripted_graph(page()) as graph:
        await _drain(_calendar(graph.client).sources[0])
        (request,) = graph.requests
    query = {key: unquote(values[0]) for key, values in parse_qs(urlsplit(request.raw_path).query).items()}
    assert request.path == "/v1.0/users/u1/calendarView"
    assert query == {
        "startDateTime": "2026-03-01T00:00:00Z",
        "endDateTime": "2026-03-02T01:02:03.456789Z",
        "$select": "id,start,subject",
        "$top": "100",
    }
    assert request.headers["Prefer"] == 'IdType="ImmutableId", outlook.timezone="UTC"'


async def test_an_event_belongs_to_the_window_in_which_it_starts() -> None:
    """So that adjacent windows hold each event once; the last days are read again."""
    async with scripted_graph(page()) as graph:
        (source,) = _calendar(graph.client).sources
    assert source.instants == ("start.dateTime",)
    assert (source.overlap, source.ahead) == (timedelta(days=7), timedelta(days=3))
    assert source.longest_window <= timedelta(days=31)

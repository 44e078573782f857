"""Outlook: the requests that read mail and calendars by window."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

from connectors import outlook_calendar, outlook_mail
from connectors.graph.client import GraphClient
from connectors.options import ConnectorOptions
from pipeline.model import Principal, PrincipalKind, Unit, Window
from pipeline.ports import Connector, Source
from tests.graph_server import page, scripted_graph

USER = Principal(PrincipalKind.USER, "u1")
WINDOW = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, 1, 2, 3, 456_789, tzinfo=UTC))
SELECT = {
    "mail_messages": ("subject", "receivedDateTime"),
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
        "$top": ["1000"],
    }
    assert request.headers["Prefer"] == 'IdType="ImmutableId"'


async def test_chosen_folders_are_read_one_by_one() -> None:
    """The same window in each."""
    async with scripted_graph(page()) as graph:
        await _drain(_mail(graph.client, "SentItems", "AAMk=/x").sources[0])
        paths = [urlsplit(path).path for path in graph.paths]
    assert paths == [
        "/v1.0/users/u1/mailFolders/SentItems/messages",
        "/v1.0/users/u1/mailFolders/AAMk%3D%2Fx/messages",
    ]


async def test_mail_declares_how_it_is_planned() -> None:
    """Windowed, checked by received time, without overlap."""
    async with scripted_graph(page()) as graph:
        (source,) = _mail(graph.client).sources
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

"""Calls: records of what was held in Teams, and the logs of calls with the telephone network.

  teams_call_records          GET /communications/callRecords, then for each record
                              GET /communications/callRecords/{id}?$expand=sessions($expand=segments)
                              GET /communications/callRecords/{id}?$expand=participants_v2
                              https://learn.microsoft.com/graph/api/callrecords-cloudcommunications-list-callrecords
                              https://learn.microsoft.com/graph/api/callrecords-callrecord-get
  teams_pstn_calls            GET /communications/callRecords/getPstnCalls(fromDateTime=A,toDateTime=B)
                              https://learn.microsoft.com/graph/api/callrecords-callrecord-getpstncalls
  teams_direct_routing_calls  GET /communications/callRecords/getDirectRoutingCalls(fromDateTime=A,toDateTime=B)
                              https://learn.microsoft.com/graph/api/callrecords-callrecord-getdirectroutingcalls
(all checked 2026-11)

The list of records expands nothing, and a single record expands one relation at a time, hence two requests for each.
`organizer` and `participants` are empty since June 2026, so `organizer_v2` and `participants_v2` are read.
A record is rewritten as details arrive: its `version` grows. The last days are read again every night; within a run
each record is read once, after the list that names it, so in its highest version. Graph serves records for 30 days:
of an older window nothing can be read any more.

The logs are asked for by whole days, as their documentation shows: the day after a window's last one is the end, so
that it does not matter whether that day is included (PSTN) or not (direct routing). Which rows belong to the window
is decided here, by their begin. Rows come late too, and are read again like records.

Records and logs are the tenant's. Where the settings have a scope, a record is kept if somebody in scope organized the
call or took part, and a row of a log if it is of somebody in scope.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime, time, timedelta
from random import Random

import msgspec

from config.instants import format_instant
from connectors.graph.client import GraphClient
from connectors.graph.connector import GraphConnector
from connectors.graph.errors import End, Refusal
from connectors.graph.limits import CALL_RECORDS_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import CollectionBroken, Request, read_object, read_pages, typed
from connectors.graph.sampling import Fill, sample_window
from connectors.graph.side_by_side import side_by_side
from connectors.graph.source import MOST_RESTARTS, Collection, GraphSource, Reading, no_filter
from connectors.graph.traffic import CALL_RECORD_LIST_TRAFFIC, CALL_RECORD_TRAFFIC, call_log_traffic
from connectors.msft_teams.names import NAME
from connectors.options import ConnectorOptions
from pipeline.errors import WindowTooLarge
from pipeline.metering import Meter, joined, metered
from pipeline.model import Page, PrincipalKind, Unit, Window
from pipeline.ports import RowFilter, Sample
from pipeline.scope import Scope

RECORD_ROLES = ("CallRecords.Read.All",)
LOG_ROLES = ("CallRecord-PstnCalls.Read.All", "CallRecords.Read.All")
SESSIONS, PARTICIPANTS = "sessions", "participants_v2"
EXPANSIONS = {SESSIONS: "sessions($expand=segments)", PARTICIPANTS: "participants_v2"}
RECORDS_IN_FLIGHT = 8  # of one unit; the governor keeps the rate
MOST_REWRITES = 3  # of a record while it is read; then two versions are mixed, and the next night reads it again
MOST_RECORDS = 4_000  # of one unit: they come with all their sessions, a few KiB each
RECORDS_PER_PAGE = 32
RECORDS_SAMPLED = 4  # for an estimate, to learn what a record takes
LONGEST_WINDOW = timedelta(days=5)
LONGEST_LOG = timedelta(days=30)  # Graph refuses more than 90 days


def calls(client: GraphClient, *, options: ConnectorOptions) -> GraphConnector:
    """The datasets of calls; nothing has to be prepared."""
    return GraphConnector(
        NAME,
        [
            CallRecordSource(_records(options), client, scope=options.scope),
            GraphSource(_log("teams_pstn_calls", "getPstnCalls", options), client),
            GraphSource(_log("teams_direct_routing_calls", "getDirectRoutingCalls", options), client),
        ],
    )


class ListedRecord(msgspec.Struct, frozen=True):
    """What a list has to tell of a record."""

    id: str

    def __repr__(self) -> str:
        return "ListedRecord(…)"


class CallRecordSource(GraphSource):
    """The records of a window, each with its participants, sessions and segments."""

    def __init__(self, collection: Collection, client: GraphClient, *, scope: Scope | None) -> None:
        super().__init__(collection, client)
        self._reader = RecordReader(client)
        self._scope = scope
        self._fill = Fill()
        self._asked = Meter()
        self._sampled: list[bytes] = []

    async def sample(self, unit: Unit, *, chance: Random) -> Sample:
        """Lists; each record takes as many requests as the first few that are sampled."""
        try:
            found = await sample_window(
                self._client,
                _window(unit),
                _listed_in,
                page_items=CALL_RECORDS_PAGE_ITEMS,
                fill=self._fill,
                budget=self._client.budget(),
                chance=chance,
            )
            listed = [record.id for page in found.pages for record in typed(page, _listed)]
            chosen = chance.sample(listed, min(RECORDS_SAMPLED - len(self._sampled), 1, len(listed)))
            with metered() as meter:
                self._sampled += [raw for each in chosen if (raw := await self._reader.read(each)) is not None]
        except Refusal as refusal:
            raise self.outcome(refusal, unit) from None
        self._asked.requests.update(meter.requests)
        number = max(len(self._sampled), 1)
        return Sample(
            requests=joined({CALL_RECORD_LIST_TRAFFIC.kind: found.requests}, self._asked.times(found.count / number)),
            pages=[Page(b"[" + b",".join(self._sampled) + b"]")],
            weight=found.count / number,
        )

    async def read(self, unit: Unit, reading: Reading) -> AsyncIterator[Page]:
        """As `GraphSource.read`: lists first, so that a window of too many calls is known before they are read.

        Raises:
            Refusal, CollectionBroken: `pages` knows what they mean.
            WindowTooLarge: the window holds more than MOST_RECORDS calls.
        """
        listed: dict[str, None] = {}
        async for page in super().read(unit, reading):
            listed |= dict.fromkeys(record.id for record in typed(page, _listed))
            if len(listed) > MOST_RECORDS:
                raise WindowTooLarge("a window holds too many calls")
        ids = list(listed)
        for start in range(0, len(ids), RECORDS_PER_PAGE):
            found = await side_by_side(
                self._reader.read, ids[start : start + RECORDS_PER_PAGE], at_most=RECORDS_IN_FLIGHT
            )
            records = [record for record in found if record is not None and self._concerns_scope(record)]
            if records:
                yield Page(b"[" + b",".join(records) + b"]")

    def _concerns_scope(self, record: bytes) -> bool:
        """A record that is not what Graph documents is nobody's in scope."""
        if self._scope is None:
            return True
        try:
            return any(map(self._scope.reads, _took_part.decode(record).user_ids()))
        except msgspec.DecodeError:
            return False


class RecordReader:
    """One record with its relations."""

    def __init__(self, client: GraphClient) -> None:
        self._client = client

    async def read(self, record_id: str) -> bytes | None:
        """The JSON of the record; None where it is gone, as it is after 30 days. Raises: Refusal."""
        try:
            return await self._whole(record_id)
        except Refusal as refusal:
            if refusal.row.end in (End.ITEM_GONE, End.MAYBE_GONE):
                return None
            raise

    async def _whole(self, record_id: str) -> bytes:
        for _ in range(MOST_REWRITES):
            record = await self._with(SESSIONS, record_id)
            joined = await self._with(PARTICIPANTS, record_id)
            if record.get("version") == joined.get("version"):
                break  # otherwise it was rewritten between the two requests
        return msgspec.json.encode({**record, PARTICIPANTS: joined.get(PARTICIPANTS, NULL)})

    async def _with(self, relation: str, record_id: str) -> dict[str, msgspec.Raw]:
        """The record with one relation expanded to its end."""
        for _ in range(MOST_RESTARTS + 1):
            try:
                return await self._expanded(relation, record_id)
            except CollectionBroken as broken:
                refusal = broken.refusal
        raise refusal

    async def _expanded(self, relation: str, record_id: str) -> dict[str, msgspec.Raw]:
        budget = self._client.budget()
        request = Request(
            path=segments("communications", "callRecords", record_id),
            query={"$expand": EXPANSIONS[relation]},
            traffic=CALL_RECORD_TRAFFIC,
        )
        (record,) = typed(await read_object(self._client, request, budget=budget), _properties)
        link = record.pop(f"{relation}@odata.nextLink", NULL)
        if link != NULL:
            since = msgspec.json.decode(link, type=str)
            pages = read_pages(self._client, request, budget=budget, size=None, since=since)
            record[relation] = _joined([bytes(record.get(relation, b"[]")), *[page.records async for page in pages]])
        return record


def _records(options: ConnectorOptions) -> Collection:
    def requests(unit: Unit) -> Iterable[Request]:
        yield _listed_in(_window(unit))

    return Collection(
        dataset="teams_call_records",
        connector=NAME,
        principals=PrincipalKind.TENANT,
        requests=requests,
        roles=RECORD_ROLES,
        windowed=True,
        settle=options.settle_calls,
        overlap=options.overlap_calls,
        longest_window=LONGEST_WINDOW,
        instants=("startDateTime",),
    )


def _listed_in(window: Window) -> Request:
    start, end = format_instant(window.start), format_instant(window.end)
    return Request(
        path=segments("communications", "callRecords"),
        query={
            "$filter": f"startDateTime ge {start} and startDateTime lt {end}",
            "$select": "id",
        },
        traffic=CALL_RECORD_LIST_TRAFFIC,
    )


def _log(dataset: str, function: str, options: ConnectorOptions) -> Collection:
    scope = options.scope

    def requests(unit: Unit) -> Iterable[Request]:
        window = _window(unit)
        first, end = window.start.date(), _next_midnight(window.end).date()
        yield Request(
            path=f"communications/callRecords/{function}(fromDateTime={first},toDateTime={end})",
            traffic=call_log_traffic(function),
        )

    return Collection(
        dataset=dataset,
        connector=NAME,
        principals=PrincipalKind.TENANT,
        requests=requests,
        roles=LOG_ROLES,
        windowed=True,
        settle=options.settle_calls,
        overlap=options.overlap_calls,
        longest_window=LONGEST_LOG,
        instants=("startDateTime",),
        filters=no_filter if scope is None else lambda _: RowFilter("userId", scope.reads),
    )


def _window(unit: Unit) -> Window:
    if unit.window is None:
        raise ValueError("calls are read by window")
    return unit.window


def _next_midnight(instant: datetime) -> datetime:
    """The first midnight that is not before `instant`."""
    midnight = datetime.combine(instant.date(), time(), instant.tzinfo)
    return midnight if midnight == instant else midnight + timedelta(days=1)


def _joined(pages: Sequence[bytes]) -> msgspec.Raw:
    """Several JSON arrays as one."""
    insides = [page.strip()[1:-1].strip() for page in pages]
    return msgspec.Raw(b"[" + b",".join(inside for inside in insides if inside) + b"]")


# --- Who took part in a call, as far as scope has to know -----------------------------------------------------


class _Looked(msgspec.Struct, frozen=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class _User(_Looked, frozen=True):
    id: str | None = None


class _Identity(_Looked, frozen=True):
    user: _User | None = None


class _Participant(_Looked, rename="camel", frozen=True):
    identity: _Identity | None = None
    associated_identity: _User | None = None

    def user_ids(self) -> Iterator[str]:
        user = self.identity.user if self.identity is not None else None
        yield from (each.id for each in (self.associated_identity, user) if each is not None and each.id)


class _Session(_Looked, frozen=True):
    caller: _Participant | None = None
    callee: _Participant | None = None


class _TookPart(_Looked, frozen=True):
    organizer_v2: _Participant | None = None
    participants_v2: list[_Participant] | None = None
    sessions: list[_Session] | None = None

    def user_ids(self) -> Iterator[str]:
        """Organizer, participants, and both ends of every session."""
        ends = [end for session in self.sessions or () for end in (session.caller, session.callee)]
        for each in (self.organizer_v2, *(self.participants_v2 or ()), *ends):
            if each is not None:
                yield from each.user_ids()


NULL = msgspec.Raw(b"null")
_took_part = msgspec.json.Decoder(_TookPart)
_listed = msgspec.json.Decoder(list[ListedRecord])
_properties = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

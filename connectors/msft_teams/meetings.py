"""Online meetings, and who attended them. Read after all other datasets, whose join links say which meetings there are.

  teams_online_meetings     GET /users/{organizer}/onlineMeetings?$filter=JoinWebUrl eq '{link}'
                            https://learn.microsoft.com/graph/api/onlinemeeting-get
  teams_attendance_reports  GET /users/{organizer}/onlineMeetings/{meeting}/attendanceReports, then for each report
                            GET …/attendanceReports/{report}?$expand=attendanceRecords
                            https://learn.microsoft.com/graph/api/meetingattendancereport-list
                            https://learn.microsoft.com/graph/api/meetingattendancereport-get
(all checked 2026-11)

Each link is looked up once, by its organizer, whose object id Graph wants in the path. A meeting is exported by every
run that meets its link; of several rows the newest is valid, and absence says nothing. Graph forgets meetings some
time after they were last held.

A report belongs to the window in which the meeting was begun: so do the call record and the event that lead to it, and
adjacent windows miss none. Reports come late, and the last days are read again every night. Graph lists the newest 50
reports of a meeting and no more. Reports of a channel's meetings are not read: every meeting of the channel lists the
reports of all of them, and Graph does not show who attended.

Both need an application access policy of Teams that covers the organizer; without one he is left out by reason:
    https://learn.microsoft.com/graph/cloud-communication-online-meeting-application-access-policy (checked 2026-11)
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Annotated, Any
from weakref import WeakValueDictionary

import msgspec

from connectors.graph.client import GraphClient
from connectors.graph.errors import End, Refusal
from connectors.graph.links import segments
from connectors.graph.paging import Request, read_object, read_pages, typed
from connectors.graph.retry import UnitBudget
from connectors.graph.source import Collection, GraphSource, Reading
from connectors.graph.traffic import MEETING_TRAFFIC
from connectors.msft_teams.calendar_debts import REPORTS, CalendarDebts
from connectors.msft_teams.meeting_links import MeetingLinks
from connectors.msft_teams.names import NAME
from connectors.options import ConnectorOptions
from pipeline.metering import metered
from pipeline.model import Page, Principal, PrincipalKind, Unit, Window
from pipeline.ports import Debts, Preparation, Reach, RequestKind, Sample, Source

MEETINGS = "teams_online_meetings"
MEETING_ROLES = ("OnlineMeetings.Read.All", "OnlineMeetings.ReadWrite.All")
REPORT_ROLES = ("OnlineMeetingArtifact.Read.All",)
GONE = frozenset({End.ITEM_GONE, End.MAYBE_GONE})
CHANNEL_SPACES = ("@thread.tacv2", "@thread.skype")  # how the thread id of a channel ends
ORGANIZERS_REMEMBERED = 128  # their meetings, some KiB each, between the two datasets
MEETINGS_SAMPLED = 1  # of one organizer, for an estimate
_EDGE = timedelta(seconds=1)  # the exact edges of the window are checked when rows are made

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Meetings:
    """The part of the connector that reads online meetings; `links` learns from the other datasets."""

    name = NAME

    def __init__(self, client: GraphClient, *, links: MeetingLinks, options: ConnectorOptions) -> None:
        finder = MeetingFinder(client, links)
        self._debts = CalendarDebts()
        self._users: Sequence[Principal] = ()
        self.sources: Sequence[Source] = (MeetingSource(client, finder), ReportSource(client, finder, options=options))

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        """From when on reports have to be read of those whose calendars failed."""
        del saved
        self._users = users
        return Preparation(since=self._debts.starts())

    def remind(self, owed: bytes) -> None:
        """Of organizers whose calendars failed."""
        self._debts = CalendarDebts.from_bytes(owed)

    async def owed(self, reach: Reach) -> Debts:
        """The organizers whose calendars failed, or their reports since."""
        return Debts(self._debts.after(self._users, reach).to_bytes())


def meeting_links() -> MeetingLinks:
    """Learns what the datasets here depend on."""
    return MeetingLinks(serves=(MEETINGS, REPORTS))


class MeetingFinder:
    """Looks up the meetings of organizers, and remembers them until their reports were read too."""

    def __init__(self, client: GraphClient, links: MeetingLinks) -> None:
        self._client = client
        self._links = links
        self._found: OrderedDict[str, list[Page]] = OrderedDict()
        self._sampled: dict[str, tuple[list[Page], Mapping[RequestKind, float], float]] = {}
        self._at_work: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def of(self, organizer: str, budget: UnitBudget) -> list[Page]:
        """The organizer's meetings. Raises: Refusal, CollectionBroken."""
        async with self._at_work.setdefault(organizer, asyncio.Lock()):
            found = self._found.pop(organizer, None)
            if found is not None:
                return found  # the one dataset has had it, here comes the other
            found = [
                page for link in self._links.of(organizer) for page in await self._look_up(organizer, link, budget)
            ]
            self._found[organizer] = found
            if len(self._found) > ORGANIZERS_REMEMBERED:
                self._found.popitem(last=False)
            return found

    async def a_few_of(
        self, organizer: str, budget: UnitBudget, *, chance: Random
    ) -> tuple[list[Page], Mapping[RequestKind, float], float]:
        """A few of the organizer's meetings; what looking all up takes; for how many links each looked up stands."""
        links = self._links.of(organizer)
        chosen = chance.sample(links, min(MEETINGS_SAMPLED, len(links)))
        weight = len(links) / max(len(chosen), 1)
        if organizer not in self._sampled:
            with metered() as meter:
                pages = [page for link in chosen for page in await self._look_up(organizer, link, budget)]
                self._sampled[organizer] = pages, meter.times(weight), weight
        return self._sampled[organizer]

    async def _look_up(self, organizer: str, link: str, budget: UnitBudget) -> list[Page]:
        """The one meeting a link opens; nothing where Graph does not know it, or not any more."""
        literal = link.replace("'", "''")
        request = Request(
            path=segments("users", organizer, "onlineMeetings"),
            query={"$filter": f"JoinWebUrl eq '{literal}'"},
            traffic=MEETING_TRAFFIC,
        )
        try:
            return [page async for page in read_pages(self._client, request, budget=budget, size=None)]
        except Refusal as refusal:
            if refusal.row.end in GONE:
                return []
            raise


class MeetingSource(GraphSource):
    """The meetings of an organizer."""

    def __init__(self, client: GraphClient, finder: MeetingFinder) -> None:
        super().__init__(_collection(MEETINGS, MEETING_ROLES), client)
        self._finder = finder

    async def sample(self, unit: Unit, *, chance: Random) -> Sample:
        """A few of the organizer's meetings."""
        try:
            pages, requests, weight = await self._finder.a_few_of(
                unit.principal.id, self._client.budget(), chance=chance
            )
        except Refusal as refusal:
            raise self.outcome(refusal, unit) from None
        return Sample(requests=requests, pages=pages, weight=weight)

    async def read(self, unit: Unit, reading: Reading) -> AsyncIterator[Page]:
        """As `GraphSource.read`, a page for each meeting."""
        for page in await self._finder.of(unit.principal.id, reading.budget):
            yield replace(page)  # whoever reads lets go of it, and the reports need it still


class ReportSource(GraphSource):
    """The attendance reports of an organizer's meetings."""

    def __init__(self, client: GraphClient, finder: MeetingFinder, *, options: ConnectorOptions) -> None:
        super().__init__(
            _collection(
                REPORTS,
                REPORT_ROLES,
                windowed=True,
                settle=options.settle_calls,
                overlap=options.overlap_calls,
                instants=("meetingStartDateTime",),
            ),
            client,
        )
        self._client = client
        self._finder = finder

    async def sample(self, unit: Unit, *, chance: Random) -> Sample:
        """The reports of a few of the organizer's meetings, which the other dataset has looked up by then."""
        budget = self._client.budget()
        try:
            found, _, weight = await self._finder.a_few_of(unit.principal.id, budget, chance=chance)
            with metered() as meter:
                pages = [page async for page in self._reports(unit, found, budget)]
        except Refusal as refusal:
            raise self.outcome(refusal, unit) from None
        return Sample(requests=meter.times(weight), pages=pages, weight=weight)

    async def read(self, unit: Unit, reading: Reading) -> AsyncIterator[Page]:
        """As `GraphSource.read`, a page for each meeting that has reports in the window."""
        found = await self._finder.of(unit.principal.id, reading.budget)
        async for page in self._reports(unit, found, reading.budget):
            yield page

    async def _reports(self, unit: Unit, found: Sequence[Page], budget: UnitBudget) -> AsyncIterator[Page]:
        if unit.window is None:
            raise ValueError("attendance reports are read by window")
        for meeting in (each for page in found for each in typed(page, _meetings)):
            if meeting.is_in_channel:
                continue
            path = segments("users", unit.principal.id, "onlineMeetings", meeting.id, "attendanceReports")
            reports = [
                report
                for listed in await self._listed(path, budget)
                if listed.may_lie_in(unit.window)
                and (report := await self._report(path, listed.id, meeting.id, budget)) is not None
            ]
            if reports:
                yield Page(b"[" + b",".join(reports) + b"]")

    async def _listed(self, path: str, budget: UnitBudget) -> list["ListedReport"]:
        """The newest reports of a meeting; none where it is gone by now."""
        request = Request(path=path, traffic=MEETING_TRAFFIC)
        try:
            pages = read_pages(self._client, request, budget=budget, size=None)
            return [report async for page in pages for report in typed(page, _reports)]
        except Refusal as refusal:
            if refusal.row.end in GONE:
                return []
            raise

    async def _report(self, path: str, report_id: str, meeting_id: str, budget: UnitBudget) -> bytes | None:
        """A report with who attended, and with the meeting's id, which it lacks; None where it is gone by now."""
        request = Request(
            path=f"{path}/{segments(report_id)}", query={"$expand": "attendanceRecords"}, traffic=MEETING_TRAFFIC
        )
        try:
            (report,) = typed(await read_object(self._client, request, budget=budget), _properties)
        except Refusal as refusal:
            if refusal.row.end in GONE:
                return None
            raise
        return msgspec.json.encode({**report, "meetingId": meeting_id})


class FoundMeeting(msgspec.Struct, rename="camel", frozen=True):
    """What the way to the reports of a meeting has to know."""

    id: str
    chat_info: "ChatInfo | None" = None

    @property
    def is_in_channel(self) -> bool:
        thread = None if self.chat_info is None else self.chat_info.thread_id
        return thread is not None and thread.endswith(CHANNEL_SPACES)

    def __repr__(self) -> str:
        return "FoundMeeting(…)"


class ChatInfo(msgspec.Struct, rename="camel", frozen=True):
    """The chat of a meeting."""

    thread_id: str | None = None

    def __repr__(self) -> str:
        return "ChatInfo(…)"


class ListedReport(msgspec.Struct, rename="camel", frozen=True):
    """A report as the list shows it, without who attended."""

    id: str
    meeting_start_date_time: Instant | None = None

    def may_lie_in(self, window: Window) -> bool:
        """False where it certainly does not; the exact edges are checked when rows are made."""
        begin = self.meeting_start_date_time
        return begin is None or window.start - _EDGE <= begin <= window.end + _EDGE

    def __repr__(self) -> str:
        return "ListedReport(…)"


def _collection(dataset: str, roles: tuple[str, ...], **how: Any) -> Collection:
    def requests(_unit: Unit) -> Iterable[Request]:
        return ()  # the sources here ask by themselves

    return Collection(
        dataset=dataset, connector=NAME, principals=PrincipalKind.USER, requests=requests, roles=roles, **how
    )


_meetings = msgspec.json.Decoder(list[FoundMeeting])
_reports = msgspec.json.Decoder(list[ListedReport])
_properties = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

"""A tenant that nobody has to have: how much its people write and meet, and which requests reading that takes.

Averages of a working day are those that Microsoft published of its customers, 117 messages of mail and 153 of Teams
received by each:
    https://www.microsoft.com/worklab/work-trend-index/breaking-down-infinite-workday (checked 2026-11)
The rest is assumed, and named below; sizes of mailboxes are spread log-normally, as sizes of archives usually are.
`docs/scaling.md` explains what follows from it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from random import Random
from typing import Literal

from connectors.graph.budgets import Budgets
from connectors.graph.limits import (
    CALENDAR_VIEW_PAGE_ITEMS,
    CHATS_PAGE_ITEMS,
    EXPORTED_MESSAGES_PAGE_ITEMS,
    GROUPS_PAGE_ITEMS,
    MESSAGES_PAGE_ITEMS,
    USERS_PAGE_ITEMS,
)
from connectors.graph.traffic import (
    CALL_RECORD_TRAFFIC,
    GROUP_MEMBERS_TRAFFIC,
    GROUPS_TRAFFIC,
    MEETING_TRAFFIC,
    TEAMS_EXPORT_TRAFFIC,
    TEAMS_LIST_TRAFFIC,
    USERS_TRAFFIC,
    Draw,
    Limit,
    Scope,
    ScopeKind,
    Service,
    Traffic,
)
from connectors.graph.virtual_run import Job, Phase, VirtualRun

MAILBOXES = 100_000
IDLE_SHARE = 0.2  # of the mailboxes: shared ones, rooms, leavers
IDLE_ACTIVITY = 0.02  # of what an average person does
SPREAD = 0.9  # sigma of the logarithm: one in forty does six times what half of the others do
WORKING_DAYS = 250  # of a year

MAIL_A_DAY = 117 + 30  # received, and sent
TEAMS_MESSAGES_A_DAY = 153 + 30
EVENTS_A_DAY = 5
CONTACT_REQUESTS = 4  # two folders, and the question which there are
CHATS = 80  # of each person
CHAT_MEMBERS = 4  # on average: each chat is read by one of them
CHANGED_CHATS_A_DAY = 0.5  # of each person: renamed, or with other members
MEETINGS_ORGANIZED_A_WEEK = 3
NEW_MEETINGS_A_YEAR = 60  # of these, series counted once
CALLS_A_DAY = 0.5  # records for each person
PEOPLE_A_GROUP = 4  # groups, that is: 25,000 of them
PEOPLE_A_TEAM = 10
TEAM_MESSAGES_A_DAY = 5

CALENDAR_OVERLAP_DAYS, CALL_OVERLAP_DAYS = 7, 5
CALLS_KEPT_DAYS = 30
TILE_DAYS = 31
WORKING_SHARE = WORKING_DAYS / 365

MAILBOX_TRAFFIC = Traffic(Service.OUTLOOK, Scope(ScopeKind.MAILBOX), ())  # no limit that mailboxes share
CHAT_LIST_TRAFFIC = Traffic(Service.TEAMS, Scope(ScopeKind.SERVICE), (Draw(Limit.TEAMS),))


@dataclass(frozen=True, slots=True)
class Period:
    """What is read: a night has no tiles and an overlap, a backfill the reverse."""

    name: str
    days: int
    is_backfill: bool

    @property
    def tiles(self) -> int:
        return ceil(self.days / TILE_DAYS)

    @property
    def working_days(self) -> float:
        return 1.0 if self.days == 1 else self.days * WORKING_SHARE  # a night after a working day


Breadth = Literal["everything", "mail and calendar"]
MEETINGS = "online meetings"
NIGHTLY = Period("nightly", 1, is_backfill=False)
YEAR = Period("one year", 365, is_backfill=True)


def simulated(
    period: Period,
    *,
    budgets: Budgets,
    workers: int,
    principals_in_flight: int,
    breadth: Breadth = "everything",
    mailboxes: int = MAILBOXES,
    seed: int = 1,
) -> list[Phase]:
    """The phases of a run over the assumed tenant, in their order."""
    run = VirtualRun(budgets=budgets, workers=workers, principals_in_flight=principals_in_flight)
    activity = _activities(mailboxes, Random(seed))  # noqa: S311 - the same tenant every time
    directory = run.phase("directory", _directory(mailboxes))
    if breadth == "mail and calendar":
        groups = ([Job(GROUP_MEMBERS_TRAFFIC, 1)] for _ in range(mailboxes // PEOPLE_A_GROUP))
        people = ([_mailbox(period, each)] for each in activity)
        return [directory, run.phase("mailboxes", chain(groups, people))]
    return [
        directory,
        run.phase("who reads which chat", ([_chat_lists()] for _ in activity)),
        run.phase("mailboxes, chats, calls", _everything(period, activity)),
        run.phase(MEETINGS, ([_meetings(period, each)] for each in activity)),
    ]


def _activities(mailboxes: int, chance: Random) -> list[float]:
    """What each person does, relative to the average one."""
    return [
        IDLE_ACTIVITY if chance.random() < IDLE_SHARE else chance.lognormvariate(-(SPREAD**2) / 2, SPREAD)
        for _ in range(mailboxes)
    ]


def _directory(mailboxes: int) -> Iterator[Sequence[Job]]:
    groups = mailboxes / PEOPLE_A_GROUP
    yield [Job(USERS_TRAFFIC, mailboxes / USERS_PAGE_ITEMS), Job(GROUPS_TRAFFIC, groups / GROUPS_PAGE_ITEMS)]
    yield [Job(TEAMS_LIST_TRAFFIC, mailboxes / PEOPLE_A_TEAM / CHATS_PAGE_ITEMS)]


def _chat_lists() -> Job:
    return Job(CHAT_LIST_TRAFFIC, ceil(CHATS / CHATS_PAGE_ITEMS))


def _everything(period: Period, activity: Sequence[float]) -> Iterator[Sequence[Job]]:
    people = len(activity)
    days = min(period.days, CALLS_KEPT_DAYS) if period.is_backfill else period.days + CALL_OVERLAP_DAYS
    calls = people * CALLS_A_DAY * days * WORKING_SHARE
    yield [Job(CALL_RECORD_TRAFFIC, 2 * calls, calls, side_by_side=32)]
    for number, each in enumerate(activity):
        yield [_mailbox(period, each), _chats(period), _chat_messages(period, each)]
        if number % PEOPLE_A_GROUP == 0:
            yield [Job(GROUP_MEMBERS_TRAFFIC, 1)]
        if number % PEOPLE_A_TEAM == 0:
            messages = TEAM_MESSAGES_A_DAY * period.working_days
            yield [
                Job(TEAMS_LIST_TRAFFIC, 2),
                Job(TEAMS_EXPORT_TRAFFIC, _pages(messages, EXPORTED_MESSAGES_PAGE_ITEMS), messages),
            ]


def _mailbox(period: Period, activity: float) -> Job:
    """Settings, mail, contacts and calendar."""
    mail = MAIL_A_DAY * activity * period.working_days
    calendar_days = period.working_days + (0 if period.is_backfill else CALENDAR_OVERLAP_DAYS * WORKING_SHARE)
    events = EVENTS_A_DAY * activity * calendar_days
    requests = (
        1
        + CONTACT_REQUESTS
        + period.tiles * _pages(mail / period.tiles, MESSAGES_PAGE_ITEMS)
        + period.tiles * _pages(events / period.tiles, CALENDAR_VIEW_PAGE_ITEMS)
    )
    return Job(MAILBOX_TRAFFIC, requests, mail + events, side_by_side=4)


def _chats(period: Period) -> Job:
    """The list once more where anything changed, and the members of what did, each chat once."""
    changed = CHATS if period.is_backfill else CHANGED_CHATS_A_DAY * period.days
    listed = min(1.0, changed / CHAT_MEMBERS) * ceil(CHATS / CHATS_PAGE_ITEMS)
    return Job(CHAT_LIST_TRAFFIC, listed + changed / CHAT_MEMBERS, changed / CHAT_MEMBERS)


def _chat_messages(period: Period, activity: float) -> Job:
    messages = TEAMS_MESSAGES_A_DAY * activity * period.working_days
    return Job(TEAMS_EXPORT_TRAFFIC, _pages(messages, EXPORTED_MESSAGES_PAGE_ITEMS), messages)


def _meetings(period: Period, activity: float) -> Job:
    """Each meeting is looked up and its reports are listed; each report of the period is read."""
    weeks = (period.days + (0 if period.is_backfill else CALENDAR_OVERLAP_DAYS)) / 7
    held = MEETINGS_ORGANIZED_A_WEEK * activity * weeks
    known = min(held, NEW_MEETINGS_A_YEAR * activity) if period.is_backfill else held
    return Job(MEETING_TRAFFIC, 2 * known + held, held)


def _pages(records: float, page_items: int) -> float:
    """At least one; the last page of several is half full on average."""
    return 1.0 if records <= page_items else records / page_items + 0.5

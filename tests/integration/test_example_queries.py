"""The example queries of docs/queries over an export, and the same sums in plain Python from the tenant's truth."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import pytest

from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, token
from tests.integration.test_export import parse_instant_text, readable

QUERIES = Path(__file__).parents[2] / "docs" / "queries"
CURRENT = ("calendar_events", "entra_group_members", "entra_users", "mail_messages", "mailbox_settings")
EXAMPLES = ("focus_time", "meetings_per_week_and_group", "response_times", "who_works_with_whom")
LOOKBACK = timedelta(days=30)
OPENS, CLOSES, LONG = time(8), time(17), timedelta(hours=2)


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    """Eight people, ten days of mail, a month of calendars."""
    opened = await open_site(users=8, keys={"connectors": {"outlook-mail": {}, "outlook-calendar": {}}})
    await opened.run()
    return opened


def answer(site: Site, name: str) -> list[tuple[Any, ...]]:
    connection = duckdb.connect()
    connection.execute(f"SET VARIABLE export = '{site.folder}/data'")
    for path in ("runs", *(f"current/{dataset}" for dataset in CURRENT)):
        connection.execute((QUERIES / f"{path}.sql").read_text())
    return connection.execute((QUERIES / f"{name}.sql").read_text()).fetchall()


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def span(event: dict[str, Any]) -> tuple[datetime, datetime]:
    return parse_instant_text(event["start"]["dateTime"]), parse_instant_text(event["end"]["dateTime"])


def events(site: Site) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is in the calendars, with the owner, but for what was declined or called off."""
    for user in readable(site):
        for event in site.tenant.truth.events(user, NOW - LOOKBACK, NOW):
            stands = not event["isCancelled"] and event["responseStatus"]["response"] != "declined"
            if stands and NOW - LOOKBACK <= span(event)[0] < NOW:
                yield user, event


def meeting(event: dict[str, Any]) -> tuple[str, datetime]:
    return event["iCalUId"], span(event)[0]


def addresses(site: Site) -> dict[str, str]:
    """Every address of everybody."""
    found: dict[str, str] = {}
    for user in site.tenant.truth.users():
        aliases = [each[5:] for each in user["proxyAddresses"] if each[:5].lower() == "smtp:"]
        found |= {each.lower(): user["id"] for each in (user["mail"], user["userPrincipalName"], *aliases) if each}
    return found


def test_every_example_is_tried_here() -> None:
    """And named on the page."""
    assert sorted(path.stem for path in QUERIES.glob("*.sql")) == sorted((*EXAMPLES, "runs"))
    page = (QUERIES.parent / "datasets.md").read_text()
    assert all(f"queries/{name}.sql" in page for name in EXAMPLES)


async def test_meetings_per_week_and_group(site: Site) -> None:
    """People, meetings and hours of every group and week."""
    groups = defaultdict(list)
    for group in site.tenant.truth.groups():
        for member in site.tenant.truth.members(group["id"]):
            groups[member["id"]].append(group["id"])
    held: dict[tuple[str, date], list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for user, event in events(site):
        if event["attendees"] and not event["isAllDay"] and event["showAs"] != "free":
            for group_id in groups[user]:
                held[token(group_id), monday(span(event)[0].date())].append((user, event))
    expected = {
        key: (
            len({user for user, _ in found}),
            len({meeting(event) for _, event in found}),
            sum((span(event)[1] - span(event)[0]) / timedelta(hours=1) for _, event in found),
        )
        for key, found in held.items()
    }
    rows = {row[:2]: row[2:] for row in answer(site, "meetings_per_week_and_group")}
    assert rows.keys() == expected.keys()
    assert len(rows) > 20
    for key, (people, meetings, hours) in rows.items():
        assert (people, meetings) == expected[key][:2]
        assert hours == pytest.approx(expected[key][2])
        assert 0 < hours < people * 60


async def test_response_times(site: Site) -> None:
    """Answers of each week, and the median of how long they took."""
    owners = addresses(site)
    waits = defaultdict(list)
    for user in readable(site):
        threads = defaultdict(list)
        for message in site.tenant.truth.messages(user, NOW - LOOKBACK, NOW):
            if not message["isDraft"]:
                threads[message["conversationId"]].append(message)
        for messages in threads.values():
            ordered = sorted(messages, key=lambda each: parse_instant_text(each["receivedDateTime"]))
            for before, after in pairwise(ordered):
                came, sent = parse_instant_text(before["receivedDateTime"]), parse_instant_text(after["sentDateTime"])
                if wrote(after, user, owners) and not wrote(before, user, owners) and sent >= came:
                    waits[monday(sent.date())].append((sent - came) / timedelta(minutes=1))
    expected = {week: (len(minutes), pytest.approx(median(minutes))) for week, minutes in waits.items()}
    assert {row[0]: row[1:] for row in answer(site, "response_times")} == expected
    assert sum(answers for answers, _ in expected.values()) > 20


def wrote(message: dict[str, Any], user: str, owners: dict[str, str]) -> bool:
    sender = message.get("from")
    return sender is not None and owners.get(sender["emailAddress"]["address"].lower()) == user


async def test_focus_time(site: Site) -> None:
    """Hours in gaps of two hours or more, counted minute by minute."""
    busy = defaultdict(list)
    for user, event in events(site):
        if event["showAs"] != "free":
            busy[user].append(span(event))
    begins = [begin.date() for spans in busy.values() for begin, _ in spans]
    expected: dict[tuple[str, date], float] = defaultdict(float)
    for user in readable(site):
        settings = site.tenant.truth.mailbox_settings(user)
        if settings is None or settings["userPurpose"] != "user":
            continue
        for number in range((max(begins) - min(begins)).days):
            day = min(begins) + timedelta(days=number)
            if day.weekday() < 5:
                expected[token(user), monday(day)] += free_minutes(day, busy[user]) / 60
    rows = {row[:2]: row[2] for row in answer(site, "focus_time")}
    assert rows.keys() == expected.keys()
    assert all(rows[key] == pytest.approx(hours) for key, hours in expected.items())
    assert all(0 <= hours <= 45 for hours in rows.values())
    assert len(set(rows.values())) > 3


def free_minutes(day: date, spans: list[tuple[datetime, datetime]]) -> int:
    """Minutes of the working day that lie in a long stretch without a meeting."""
    opens, closes = (datetime.combine(day, at, NOW.tzinfo) for at in (OPENS, CLOSES))
    minutes = [opens + timedelta(minutes=n) for n in range((closes - opens) // timedelta(minutes=1))]
    inside = [each for each in spans if each[0] < closes and each[1] > opens]
    total = stretch = 0
    for minute in [*minutes, None]:
        if minute is not None and not any(begin <= minute < end for begin, end in inside):
            stretch += 1
        else:
            total += stretch if timedelta(minutes=stretch) >= LONG else 0
            stretch = 0
    return total


async def test_who_works_with_whom(site: Site) -> None:
    """Mails of each pair in the senders' own copies, and the small meetings that both have in their calendars."""
    owners = addresses(site)
    mails: dict[tuple[str, str], int] = defaultdict(int)
    for user in readable(site):
        for message in site.tenant.truth.messages(user, NOW - LOOKBACK, NOW):
            if not message["isDraft"] and wrote(message, user, owners):
                sent_to = (
                    each["emailAddress"]["address"] for each in message["toRecipients"] + message["ccRecipients"]
                )
                for other in {owners.get(address.lower()) for address in sent_to} - {None, user}:
                    one, two = sorted((token(user), token(other or "")))
                    mails[one, two] += 1
    present = defaultdict(set)
    for user, event in events(site):
        if 1 <= len(event["attendees"]) <= 7:
            present[meeting(event)].add(token(user))
    shared: dict[tuple[str, str], int] = defaultdict(int)
    for people in present.values():
        for one, two in combinations(sorted(people), 2):
            shared[one, two] += 1
    rows = {row[:2]: row[2:] for row in answer(site, "who_works_with_whom")}
    assert rows == {pair: (mails[pair], shared[pair]) for pair in {*mails, *shared}}
    assert len(rows) > 10

"""What is owed is replaced once by each run, however often its seal is repeated and whoever slept meanwhile."""

import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from connectors.msft_teams.calendar_debts import MOST_TIME, REPORTS, CalendarDebts
from connectors.msft_teams.chat_debts import ChatDebts
from connectors.msft_teams.meeting_links import EVENTS, MeetingLinks
from connectors.msft_teams.roster import ListedChat, Roster, RosterBuilder
from pipeline.done import DoneUnit
from pipeline.errors import FailReason
from pipeline.manifest import LeftOut
from pipeline.model import Principal, PrincipalKind
from pipeline.owed import Owed
from pipeline.reach import Bounds, FinishedWindows, RunReach
from sinks.snapshot import StateVault, derive_key
from sinks.stores.memory import MemoryBucket, MemoryStore

FIRST = datetime(2026, 3, 2, 3, tzinfo=UTC)
DAY = timedelta(days=1)
DATASET = "teams_chat_messages"


def owed_in(bucket: MemoryBucket) -> Owed:
    return Owed(MemoryStore(bucket), StateVault(derive_key(b"a salt of at least sixteen bytes")), salt_fingerprint="s")


async def test_a_run_replaces_what_the_one_before_left() -> None:
    """Twice is the same as once; a process that slept since an earlier run changes nothing."""
    owed = owed_in(MemoryBucket())
    first = await owed.replacement({"teams": b"chats"}, at=FIRST)
    await owed.replace(first)
    await owed.replace(first)
    assert await owed.load() == {"teams": b"chats"}

    second = await owed.replacement({}, at=FIRST + DAY)
    await owed.replace(second)
    await owed.replace(first)
    assert await owed.load() == {}


async def test_nothing_is_written_where_nothing_was_ever_owed() -> None:
    """Most states never hold such an object."""
    bucket = MemoryBucket()
    owed = owed_in(bucket)
    assert await owed.replacement({}, at=FIRST) == b""
    await owed.replace(b"")
    assert not bucket.objects


def roster_of(**chats: str) -> Roster:
    """Users by name, each with the chats he lists, which are single letters."""
    builder = RosterBuilder(chats)
    for place, user in enumerate(builder.users):
        builder.learn(place, [ListedChat(chat) for chat in chats[user]])
    return builder.roster()


def reach(
    end: datetime, *, known: datetime, done: dict[str, datetime], failed: list[LeftOut] | None = None
) -> RunReach:
    """A run up to `end`, in which users were read from some instant on."""
    return RunReach(
        done=FinishedWindows([(DATASET, DoneUnit(user, start, end, 0)) for user, start in done.items()]),
        known={(DATASET, user): known for user in "abc"},
        bounds=Bounds(origins={DATASET: FIRST - 30 * DAY}, overlaps={DATASET: timedelta(0)}, ends={DATASET: end}),
        failed=failed or [],
        pseudonym=lambda principal: principal.id,
    )


def starts(debts: ChatDebts, roster: Roster) -> dict[str, datetime]:
    return {principal.id: at for (_, principal), at in debts.starts(roster).items()}


def kept(debts: ChatDebts) -> ChatDebts:
    """As the next run knows them."""
    data = debts.to_bytes()
    return ChatDebts() if data is None else ChatDebts.from_bytes(data)


def test_a_chat_is_owed_until_somebody_has_read_it_from_where_it_was_left() -> None:
    """By the reader who failed, or whoever has it now; also where that one fails in his turn."""
    one, two, three = FIRST + DAY, FIRST + 2 * DAY, FIRST + 3 * DAY
    before = roster_of(a="xy", b="xz")
    debts = ChatDebts().after(before, reach(one, known=FIRST, done={"b": FIRST}), datasets=[DATASET], lists_all=True)
    debts = kept(debts)
    assert starts(debts, before) == {"a": FIRST}
    handed_on = roster_of(a="y", b="xz", c="")
    assert starts(debts, handed_on) == {"a": FIRST, "b": FIRST}

    not_far_enough = reach(two, known=one, done={"a": FIRST, "b": one, "c": one})
    still = kept(debts.after(handed_on, not_far_enough, datasets=[DATASET], lists_all=True))
    assert starts(still, handed_on) == {"b": FIRST}
    settled = reach(three, known=two, done={"a": two, "b": FIRST, "c": two})
    assert still.after(handed_on, settled, datasets=[DATASET], lists_all=True).to_bytes() is None


@pytest.mark.parametrize("lists_all", [True, False])
def test_a_chat_that_nobody_lists_is_owed_while_a_list_is_missing(lists_all: bool) -> None:
    """Where everybody's chats were listed it has no member left who could read it."""
    one, two = FIRST + DAY, FIRST + 2 * DAY
    debts = ChatDebts().after(
        roster_of(a="x", b="y"), reach(one, known=FIRST, done={"b": FIRST}), datasets=[DATASET], lists_all=True
    )
    later = debts.after(
        roster_of(b="y"), reach(two, known=one, done={"b": one}), datasets=[DATASET], lists_all=lists_all
    )
    assert bool(starts(later, roster_of(b="xy"))) is not lists_all


def test_a_night_in_which_everybody_fails_owes_nothing_new() -> None:
    """Nobody's watermark is ahead, so whoever reads next begins early enough."""
    nobody = reach(FIRST + DAY, known=FIRST, done={})
    assert ChatDebts().after(roster_of(a="x", b="y"), nobody, datasets=[DATASET], lists_all=True).to_bytes() is None


def saved(links: Mapping[str, Sequence[str]]) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(links))


async def test_links_are_owed_of_organizers_who_failed() -> None:
    """Alone or with the whole dataset; not for want of a permission, and not once they were read."""
    link = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_x%40thread.v2/0"
    links = MeetingLinks(serves=[DATASET])
    links.remind(saved({"a": [link], "b": [link + "b"]}))
    assert links.unsaved() is not None, "kept with the open run"

    async def owed(*failed: LeftOut) -> dict[str, list[str]]:
        left = await links.owed(reach(FIRST, known=FIRST, done={}, failed=list(failed)))
        again = MeetingLinks(serves=[DATASET])
        again.remind(left.kept or saved({}))
        return {user: again.of(user) for user in "ab" if again.concerns(Principal(PrincipalKind.USER, user))}

    assert await owed(LeftOut("a", DATASET, FailReason.SERVICE_ERROR)) == {"a": [link]}
    assert await owed(LeftOut(None, DATASET, FailReason.SERVICE_ERROR)) == {"a": [link], "b": [link + "b"]}
    assert await owed(LeftOut(None, DATASET, FailReason.PERMISSION)) == {}
    assert await owed() == {}


async def test_links_beyond_what_can_be_kept_are_counted() -> None:
    """Of each dataset that failed; what is kept are whole numbers of links, the oldest first."""
    link = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_x%40thread.v2/0"
    links = MeetingLinks(serves=[DATASET, "other"], most_owed=3)
    links.remind(saved({"a": [link + "1", link + "2"], "b": [link + "3", link + "4"], "c": [link + "5"]}))
    failed = [LeftOut(user, DATASET, FailReason.SERVICE_ERROR) for user in "abc"]
    debts = await links.owed(reach(FIRST, known=FIRST, done={}, failed=failed))
    assert debts.dropped == {DATASET: 2}
    again = MeetingLinks(serves=[DATASET])
    again.remind(debts.kept or saved({}))
    assert {user: len(again.of(user)) for user in "abc"} == {"a": 2, "b": 1, "c": 0}
    assert (await links.owed(reach(FIRST, known=FIRST, done={}))).dropped == {}


def test_chats_beyond_what_can_be_kept_are_counted() -> None:
    """Those that were owed before stay; nothing is dropped where there is room."""
    roster, one = roster_of(a="vwxy", b="z"), FIRST + DAY
    behind = reach(one, known=FIRST, done={"b": FIRST})
    few = ChatDebts().after(roster, behind, datasets=[DATASET], lists_all=True, most=3)
    assert few.dropped == {DATASET: 1}
    assert kept(few).after(roster, behind, datasets=[DATASET], lists_all=True, most=3).dropped == {DATASET: 1}
    assert ChatDebts().after(roster, behind, datasets=[DATASET], lists_all=True, most=4).dropped == {}


def test_a_failing_calendar_is_owed_until_it_and_the_reports_are_read() -> None:
    """From its oldest beginning on, but for what is too long ago; a failure of the reports alone owes nothing."""
    one, two, late = FIRST + DAY, FIRST + 2 * DAY, FIRST + timedelta(days=100)
    users = [Principal(PrincipalKind.USER, user) for user in "ab"]
    calendar, report = (LeftOut("a", dataset, FailReason.TIMEOUT) for dataset in (EVENTS, REPORTS))

    def behind(end: datetime, known: datetime, *failed: LeftOut) -> RunReach:
        bounds = Bounds(origins={EVENTS: FIRST}, overlaps={EVENTS: DAY}, ends={EVENTS: end, REPORTS: end})
        marks = {(EVENTS, user): known for user in "ab"}
        done = FinishedWindows([(EVENTS, DoneUnit("b", known - DAY, end, 0))])
        return RunReach(done=done, known=marks, bounds=bounds, failed=failed, pseudonym=lambda each: each.id)

    assert CalendarDebts().after(users, behind(one, FIRST, report)).to_bytes() is None
    debts = CalendarDebts().after(users, behind(one, FIRST, calendar))
    assert debts.starts() == {(REPORTS, users[0]): FIRST - DAY}
    data = debts.after(users, behind(two, one, calendar)).to_bytes()
    assert data is not None
    debts = CalendarDebts.from_bytes(data)
    assert debts.starts() == {(REPORTS, users[0]): FIRST - DAY}
    assert debts.after(users, behind(two, one, report)).starts() == debts.starts()
    assert debts.after(users, behind(two, one)).starts() == {}
    assert debts.after(users, behind(late, two, calendar)).starts() == {(REPORTS, users[0]): late - MOST_TIME}

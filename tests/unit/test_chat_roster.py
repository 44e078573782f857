"""The roster: one reader for each chat, the same whatever the order, small, and the same after a resume."""

import random
import tracemalloc
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.msft_teams.roster import Failure, ListedChat, Roster, RosterBuilder
from pipeline.model import Window

DAY = datetime(2026, 3, 2, tzinfo=UTC)
WINDOW = Window(DAY, DAY + timedelta(days=1))


def _chat(name: str, *, created: datetime | None = DAY, updated: datetime | None = None) -> ListedChat:
    return ListedChat(name, created, updated)


def _roster(chats: dict[str, list[ListedChat]], *, order: int = 0) -> Roster:
    builder = RosterBuilder(chats)
    places = list(enumerate(builder.users))
    random.Random(order).shuffle(places)
    for place, user in places:
        builder.learn(place, chats[user])
    return builder.roster()


@settings(max_examples=50)
@given(
    memberships=st.dictionaries(st.integers(0, 30), st.sets(st.integers(0, 60)), min_size=1),
    order=st.integers(0, 5),
)
def test_the_lowest_member_reads_the_chat(memberships: dict[int, set[int]], order: int) -> None:
    """Whatever order the lists arrive in, each listed chat has exactly one reader."""
    chats = {f"user-{user:02}": [_chat(f"chat-{n}") for n in sorted(numbers)] for user, numbers in memberships.items()}
    roster = _roster(chats, order=order)
    for number in range(61):
        members = sorted(user for user, listed in chats.items() if any(c.id == f"chat-{number}" for c in listed))
        readers = [user for user in chats if roster.reads(user, f"chat-{number}")]
        assert readers == members[:1]


def test_nobody_reads_an_unlisted_chat() -> None:
    """And an unknown user reads none."""
    roster = _roster({"a": [_chat("c")]})
    assert roster.reads("a", "c")
    assert not roster.reads("a", "other")
    assert not roster.reads("z", "c")
    assert roster.knows("a")
    assert not roster.knows("z")


def test_a_user_whose_chats_others_read_has_nothing_to_do() -> None:
    """No request is worth making for him."""
    roster = _roster({"a": [_chat("c")], "b": [_chat("c")]})
    assert roster.reads_any("a")
    assert not roster.reads_any("b")
    assert not roster.may_have_changed("b", WINDOW)
    assert not roster.reads_any("z")


@pytest.mark.parametrize(
    ("created", "updated", "changed"),
    [
        (DAY - timedelta(days=9), DAY - timedelta(days=1), False),
        (DAY - timedelta(days=9), DAY + timedelta(hours=3, microseconds=1), True),
        (DAY, None, True),
        (None, DAY, True),
        (None, None, True),
        (DAY + timedelta(days=2), DAY + timedelta(days=2), False),
        (datetime(1, 1, 1, tzinfo=UTC), DAY, True),
    ],
)
def test_changed_chats_are_known(created: datetime | None, updated: datetime | None, changed: bool) -> None:
    """By creation and last update; a chat without either counts as changed."""
    chat = _chat("c", created=created, updated=updated)
    assert chat.changed_in(WINDOW) == changed
    assert _roster({"a": [chat]}).may_have_changed("a", WINDOW) == changed


def test_an_update_within_the_second_of_a_window_counts() -> None:
    """Seconds are cut in the roster, not lost."""
    late = Window(DAY + timedelta(milliseconds=900), DAY + timedelta(days=1))
    assert _roster({"a": [_chat("c", created=DAY + timedelta(milliseconds=950))]}).may_have_changed("a", late)


def test_a_resumed_run_decides_alike() -> None:
    """All that was decided survives, failures too."""
    chats = {f"u{n}": [_chat(f"c{m}") for m in range(n, n + 40)] for n in range(60)}
    roster = _roster(chats)
    failed = {"x": Failure(skipped=False, reason="network", code="c", request_id="r")}
    again, failures = Roster.from_bytes(roster.to_bytes(failed=failed))
    assert failures == failed
    for user in chats:
        assert again.knows(user)
        assert again.reads_any(user) == roster.reads_any(user)
        assert again.may_have_changed(user, WINDOW) == roster.may_have_changed(user, WINDOW)
        assert [again.reads(user, f"c{m}") for m in range(100)] == [roster.reads(user, f"c{m}") for m in range(100)]


def test_other_bytes_are_refused() -> None:
    """A state object of something else is not taken for a roster."""
    with pytest.raises(ValueError, match="cannot be read"):
        Roster.from_bytes(b"nonsense")


def test_a_chat_costs_less_than_64_bytes_at_any_moment() -> None:
    """While the chats are learnt, the table grows, and the roster is made and saved."""
    builder = RosterBuilder(["a", "b"])
    tracemalloc.start()
    for number in range(100_000):
        builder.learn(number % 2, [_chat(f"19:{number:032x}@thread.v2")])
    roster = builder.roster()
    del builder
    roster.to_bytes(failed={})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most / 100_000 < 64


def test_chats_do_not_show_their_ids() -> None:
    """Ids of one-to-one chats hold those of both people."""
    assert "19:ada" not in repr(_chat("19:ada_bo@unq.gbl.spaces"))


def test_instants_need_a_zone() -> None:
    """One without would compare with nothing."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"id":"c","createdDateTime":"2026-03-02T00:00:00"}', type=ListedChat)

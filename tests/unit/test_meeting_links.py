"""Meeting links: learnt from events, chats and calls, each meeting once, and taken over by a resumed run."""

import json
from typing import Any

import pytest

from connectors.msft_teams.meeting_links import MeetingLinks
from pipeline.model import Page, Principal, PrincipalKind, Unit

ADA, BO = "11111111-0000-4000-8000-00000000000a", "11111111-0000-4000-8000-00000000000b"
THREAD = "19%3ameeting_Abc%40thread.v2"
CONTEXT = "%7b%22Tid%22%3a%22t%22%2c%22Oid%22%3a%22o%22%7d"
LINK = f"https://teams.microsoft.com/l/meetup-join/{THREAD}/0?context={CONTEXT}"
DECODED = 'https://teams.microsoft.com/l/meetup-join/19:meeting_Abc@thread.v2/0?context={"Tid":"t","Oid":"o"}'


def links() -> MeetingLinks:
    return MeetingLinks(serves=["teams_online_meetings"])


def show(learner: MeetingLinks, dataset: str, *records: Any, owner: str = BO) -> None:
    learner.learn(Unit(dataset, Principal(PrincipalKind.USER, owner)), Page(json.dumps(records).encode()))


def event(link: str = LINK, *, is_organizer: bool = False, address: str = "ada@example.test") -> dict[str, Any]:
    return {
        "isOrganizer": is_organizer,
        "organizer": {"emailAddress": {"address": address, "name": "planted"}},
        "onlineMeeting": {"joinUrl": link},
    }


def test_the_owner_of_a_calendar_is_the_organizer_of_his_own_meetings() -> None:
    """No address has to be known."""
    learner = links()
    show(learner, "calendar_events", event(is_organizer=True), owner=ADA)
    assert learner.of(ADA) == [LINK]


def test_an_address_is_known_from_the_directory() -> None:
    """By any of a user's addresses, in any letter case; an outsider's meeting is nobody's."""
    learner = links()
    show(
        learner,
        "entra_users",
        {
            "id": ADA,
            "mail": "ada@example.test",
            "userPrincipalName": "a@x",
            "proxyAddresses": ["SMTP:Old@Example.test"],
        },
    )
    show(learner, "calendar_events", event(address="OLD@example.TEST"), event(LINK + "2", address="out@side.test"))
    assert learner.of(ADA) == [LINK]
    assert learner.concerns(Principal(PrincipalKind.USER, ADA))
    assert not learner.concerns(Principal(PrincipalKind.USER, BO))


def test_chats_and_calls_name_the_organizer_by_id() -> None:
    """A chat without a meeting and a call between two people teach nothing."""
    learner = links()
    show(
        learner,
        "teams_chats",
        {"onlineMeetingInfo": None},
        {"onlineMeetingInfo": {"joinWebUrl": LINK, "organizer": {"id": ADA}}},
    )
    other = LINK.replace("Abc", "Xyz")
    show(
        learner,
        "teams_call_records",
        {"joinWebUrl": None},
        {"joinWebUrl": other, "organizer_v2": {"identity": {"user": {"id": BO}}}},
    )
    assert (learner.of(ADA), learner.of(BO)) == ([LINK], [other])


@pytest.mark.parametrize("order", [(LINK, DECODED), (DECODED, LINK)])
def test_one_meeting_is_looked_up_once_however_its_link_is_written(order: tuple[str, str]) -> None:
    """The encoded way is the one that lookups expect."""
    learner = links()
    for link in order:
        show(learner, "calendar_events", event(link, is_organizer=True), owner=ADA)
    assert learner.of(ADA) == [LINK]


@pytest.mark.parametrize(
    "link", ["https://acme.zoom.us/j/1", "https://teams.live.com/meet/1", "https://meet.lync.com/a/b", "no link", ""]
)
def test_links_of_other_products_are_not_looked_up(link: str) -> None:
    """Graph knows the meetings of Teams at work only."""
    learner = links()
    show(learner, "calendar_events", event(link, is_organizer=True), owner=ADA)
    assert learner.of(ADA) == []
    assert learner.unsaved() is None


def test_a_record_of_another_form_costs_only_itself() -> None:
    """What cannot be read is the reader's affair; the page's other records are learnt from."""
    learner = links()
    show(learner, "calendar_events", {"onlineMeeting": 7}, "text", event(is_organizer=True), owner=ADA)
    learner.learn(Unit("calendar_events", Principal(PrincipalKind.USER, ADA)), Page(b"no JSON"))
    assert learner.of(ADA) == [LINK]


def test_what_was_learnt_is_taken_over_and_saved_once() -> None:
    """A resumed run knows what was kept, and keeps only what is new."""
    learner = links()
    show(learner, "calendar_events", event(is_organizer=True), owner=ADA)
    saved = learner.unsaved()
    assert saved is not None
    show(learner, "calendar_events", event(is_organizer=True), owner=ADA)
    assert learner.unsaved() is None

    resumed = links()
    resumed.recall(saved)
    assert resumed.of(ADA) == [LINK]
    assert resumed.unsaved() is None
    show(resumed, "calendar_events", event(LINK.replace("Abc", "New"), is_organizer=True), owner=ADA)
    assert resumed.unsaved() is not None
    assert len(resumed.of(ADA)) == 2


def test_no_link_and_no_address_is_in_a_repr() -> None:
    """Tracebacks show what objects say of themselves."""
    learner = links()
    show(learner, "entra_users", {"id": ADA, "mail": "ada@example.test"})
    show(learner, "calendar_events", event(is_organizer=True), owner=ADA)
    assert "ada" not in repr(learner)
    assert "meetup" not in repr(learner)

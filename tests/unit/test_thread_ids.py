"""Ids inside Teams thread ids and join links."""

from urllib.parse import quote

import pytest

from pipeline.sanitize.thread_ids import treat_join_url, treat_thread_id

ALICE = "11111111-0000-4000-8000-000000000001"
BOB = "11111111-0000-4000-8000-000000000002"
THREAD = "19:meeting_abc@thread.v2"


def token(text: str) -> str:
    return f"t~({text})"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"19:{ALICE}_{BOB}@unq.gbl.spaces", f"19:t~({ALICE})_t~({BOB})@unq.gbl.spaces"),
        (THREAD, "19:meeting_t~(abc)@thread.v2"),
        ("19:0123abcd@thread.tacv2", "19:t~(0123abcd)@thread.tacv2"),
        ("48:notes", "t~(48:notes)"),
    ],
)
def test_thread_ids_keep_their_form_and_lose_their_ids(text: str, expected: str) -> None:
    """One-to-one, meeting and channel stay recognisable; an unknown form becomes one token."""
    assert treat_thread_id(text, token) == expected


def test_a_join_link_gives_the_same_thread_id_as_the_chat() -> None:
    """Encoded as calendars do or not, thread and organizer become the same pseudonyms."""
    context = '{"Tid":"tenant","Oid":"' + ALICE + '"}'
    plain = f"https://teams.microsoft.com/l/meetup-join/{THREAD}/0?context={context}"
    encoded = f"https://teams.microsoft.com/l/meetup-join/{quote(THREAD, safe='')}/0?context={quote(context, safe='')}"
    expected = f"https://teams.microsoft.com/l/meetup-join/{treat_thread_id(THREAD, token)}/0?Oid=t~({ALICE})"

    assert treat_join_url(plain, token) == expected
    assert treat_join_url(encoded, token) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.zoom.us/j/123?pwd=secret", "https://example.zoom.us"),
        ("https://dana@example.org/room", None),
        ("tel:+4930123456", None),
        ("Room 1", None),
        (
            "https://teams.microsoft.com.evil.test/l/meetup-join/19:x@thread.v2/0",
            "https://teams.microsoft.com.evil.test",
        ),
    ],
)
def test_other_links_keep_scheme_and_host_only(text: str, expected: str | None) -> None:
    """No path, query, passcode or user part of a link that is no Teams join link."""
    assert treat_join_url(text, token) == expected

"""Excluded people are taken out of raw records, in whatever form and wherever they stand."""

import base64
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.digests import Digests
from pipeline.ports import RowFilter
from pipeline.sanitize.columnar import ColumnarSanitizer, UnreadablePage
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.record_rules import RecordRules, Rejected
from pipeline.sanitize.rules import PROFILES, Profile, built_in_rules
from pipeline.sanitize.suppression import NOBODY, Forms, SuppressingSanitizer, Suppressor
from pipeline.sanitize.treatments import Treatments
from tests.unit.wild_records import GUIDS, WildRecords

PSEUDONYMS = Pseudonymizer(salt="suppression-salt-0123456789")
OUT, IN = GUIDS
DN = "/O=EXCHANGELABS/OU=GROUP (FYDIBOHF23SPDLT)/CN=RECIPIENTS/CN=1F-DANA"
IDENTIFIERS = (OUT, "dana@example.org", "SMTP:d.o'fox@example.org", f"X500:{DN}", "dana_x.net#EXT#@tenant.example.com")
MEETING = "19:meeting_MzQ@thread.v2"
CHAT = f"19:{IN}_{OUT}@unq.gbl.spaces"
LINK = f"https://teams.microsoft.com/l/meetup-join/19%3ameeting_MzQ%40thread.v2/0?context=%7b%22Oid%22%3a%22{OUT}%22%7d"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def suppressor(*identifiers: str) -> Suppressor:
    forms = Forms(PSEUDONYMS)
    excluded = Digests(form for each in identifiers or IDENTIFIERS for form in forms.of(each))
    return Suppressor(PSEUDONYMS, forms, excluded=lambda: excluded)


def cleaned(*records: Any) -> list[Any]:
    found: list[Any] = json.loads(suppressor().page(json.dumps(records).encode(), {}))
    return found


@pytest.mark.parametrize(
    "text",
    [
        OUT, OUT.upper(), f"{{{OUT}}}", f"8:orgid:{OUT}", f" {OUT} ",
        "dana@example.org", "Dana@EXAMPLE.org", "dana+news@example.org", "Dana Fox <dana@example.org>",
        '"dana"@example.org', "smtp:dana@example.org", "mailto:dana%40example.org", "sip:DANA@example.org",
        "<dana@example.org>", "'dana@example.org'", "dana%2540example.org", "ask dana@example.org, she knows",
        "d.o'fox@example.org", "dana_x.net#ext#@TENANT.example.com", DN, DN.lower(), f"X500:{DN}",
    ],
)  # fmt: skip
def test_every_form_of_an_identifier_is_null(text: str) -> None:
    """Whatever has the same pseudonym, and what holds an address."""
    assert cleaned({"from": {"emailAddress": {"address": text}}, "id": "1"}) == [
        {"from": {"emailAddress": {"address": None}}, "id": "1"}
    ]


@pytest.mark.parametrize(
    "text",
    [IN, "bob@example.org", "danas@example.org", "dana@example.org.uk", "dana.fox@example.org", MEETING, DN[:-1]],
)  # fmt: skip
def test_everybody_else_stays(text: str) -> None:
    """Also who is named alike."""
    page = json.dumps([{"a": text, "b": [text]}]).encode()
    assert suppressor().page(page, {}) is page


def test_an_item_that_names_an_excluded_person_goes_with_all_it_says() -> None:
    """A recipient, an attendee with the answer, a member; inside of further lists only the innermost."""
    record = {
        "toRecipients": [{"emailAddress": {"address": "dana@example.org"}, "x": 1}, {"emailAddress": {"address": IN}}],
        "attendees": [{"status": {"response": "accepted"}, "emailAddress": {"address": "dana@example.org"}}],
        "sessions": [{"caller": {"id": IN}, "segments": [{"caller": {"id": OUT}, "at": 1}, {"caller": {"id": IN}}]}],
        "addresses": ["dana@example.org", "bob@example.org"],
        "organizer": {"emailAddress": {"address": "dana@example.org"}, "status": "organizer"},
    }  # fmt: skip
    assert cleaned(record) == [
        {
            "toRecipients": [{"emailAddress": {"address": IN}}],
            "attendees": [],
            "sessions": [{"caller": {"id": IN}, "segments": [{"caller": {"id": IN}}]}],
            "addresses": ["bob@example.org"],
            "organizer": {"emailAddress": {"address": None}, "status": "organizer"},
        }
    ]


def test_a_record_that_is_an_excluded_person_is_gone() -> None:
    """As a user, or as a member of a group; it is not rejected, it is not there."""
    assert cleaned({"id": OUT.upper(), "userType": "Member"}, {"id": IN}) == [{"id": IN}]


def test_a_chat_keeps_an_id_that_leads_to_one_member_only() -> None:
    """The same in every record, another for every chat, of the same form."""
    (first, second) = cleaned({"id": CHAT}, {"chatId": CHAT.replace(OUT, OUT.upper())})
    other = cleaned({"id": f"19:{OUT}_{'a' * 8}-0000-4000-8000-{'b' * 12}@unq.gbl.spaces"})[0]["id"]
    prefix, _, stand_in = first["id"].removesuffix("@unq.gbl.spaces").rpartition("_")
    assert prefix == f"19:{IN}"
    assert GUID.fullmatch(stand_in)
    assert stand_in not in (OUT, NOBODY)
    assert second["chatId"] == first["id"]
    assert OUT not in other
    assert stand_in not in other


def test_a_link_opens_the_same_meeting_for_nobody() -> None:
    """However it is encoded; so it still joins with the meeting."""
    assert cleaned({"joinUrl": LINK}) == [{"joinUrl": LINK.replace(OUT, NOBODY)}]


def test_ids_in_base64_are_looked_into() -> None:
    """Those of chat members hold the chat's id and the member's; others of that look stay as they are."""
    member = f"1##tenant##{CHAT}##{IN}"
    item = base64.b64encode(b"\x00\x01" + IN.encode() + bytes(range(40))).decode()
    found = cleaned({"id": base64.b64encode(member.encode()).decode(), "item": item})[0]
    decoded = base64.b64decode(found["id"]).decode()
    assert OUT not in decoded
    assert decoded.endswith(f"##{IN}")
    assert found["item"] == item


def test_a_record_that_cannot_be_looked_into_is_rejected() -> None:
    """It could hold anybody: too deep, or no JSON; the others of its page stay."""
    deep = b'{"id":"1","x":' + b"[" * 2000 + b"]" * 2000 + b"}"
    page = b'[{"id":"2","a":"dana@example.org"},' + deep + b',{"id":"\\ud800"},{"id":3x}]'
    assert json.loads(suppressor().page(page, {})) == [{"id": "2", "a": None}, None, {"id": "\ud800"}, None]
    with pytest.raises(UnreadablePage):
        suppressor().page(b'{"id":"1"}', {})


def test_a_filter_is_asked_about_ids_as_they_were() -> None:
    """Who reads which chat was settled by the chats' own ids."""
    rules = built_in_rules()["teams_chat_messages"]
    inner = ColumnarSanitizer(rules, profile="strict", treatments=Treatments(PSEUDONYMS, group_original=True))
    page = json.dumps([{"id": "1", "chatId": CHAT}, {"id": "2", "chatId": MEETING}]).encode()
    rows = (
        SuppressingSanitizer(inner, suppressor())
        .clean([page], row_filter=RowFilter("chatId", lambda chat_id: chat_id == CHAT))
        .rows
    )
    assert rows["id"].to_pylist() == ["1"]


@settings(max_examples=120)
@given(
    dataset=st.sampled_from(sorted(built_in_rules())),
    profile=st.sampled_from(PROFILES),
    random=st.randoms(use_true_random=False),
)
def test_both_engines_make_the_same_rows_without_anybody_excluded(
    dataset: str, profile: Profile, random: Random
) -> None:
    """Of any record, however odd: no identifier and no pseudonym of an excluded person is in a row."""
    rules = built_in_rules()[dataset]
    treatments = Treatments(PSEUDONYMS, group_original=True)
    wild = WildRecords(rules, random)
    records = [wild.wild() for _ in range(random.randint(1, 8))]
    page = b"[" + b",".join(records) + b"]"
    without = suppressor()
    compiled = SuppressingSanitizer(ColumnarSanitizer(rules, profile=profile, treatments=treatments), without)
    rows = compiled.clean([page]).rows.to_pylist()

    by_row = RecordRules(rules, profile=profile, treatments=treatments)
    assert rows == list(_rows(by_row, json_records(without, records)))
    written = json.dumps(rows, default=str, ensure_ascii=False).lower()
    excluded = (OUT, "dana@example.org", "d.fox@example.org")
    traces = {trace for each in excluded[:2] for trace in (each, str(PSEUDONYMS.hash_only(each)).lower())}
    assert not [trace for trace in traces if trace in written]


def json_records(without: Suppressor, records: list[bytes]) -> Iterator[bytes]:
    """Each record alone, as the suppressor leaves it."""
    for record in records:
        page = without.page(b"[" + record + b"]", {})
        if page.strip() != b"[]":
            yield page.strip()[1:-1]


def _rows(rules: RecordRules, records: Iterator[bytes]) -> Iterator[Any]:
    for record in records:
        try:
            row = rules.row(record)
        except Rejected:
            continue
        if row is not None:
            yield row


def test_what_the_property_is_shown_on_holds_excluded_people() -> None:
    """Without the suppressor they are in the rows of nearly every dataset."""
    treatments = Treatments(PSEUDONYMS, group_original=True)
    traces = [trace for each in (OUT, "dana@example.org") for trace in (each, str(PSEUDONYMS.hash_only(each)))]
    showing = 0
    for dataset, rules in built_in_rules().items():
        wild = WildRecords(rules, Random(dataset))
        page = b"[" + b",".join(wild.ordinary() for _ in range(60)) + b"]"
        rows = ColumnarSanitizer(rules, profile="strict", treatments=treatments).clean([page]).rows.to_pylist()
        showing += any(trace in json.dumps(rows, default=str) for trace in traces)
    assert showing > 10


@given(identifiers=st.sets(st.text(max_size=12)), others=st.sets(st.text(max_size=12)))
def test_digests_hold_what_they_were_given(identifiers: set[str], others: set[str]) -> None:
    """In any letter case, after being saved, and less what is taken out of them."""
    key = Digests.new_key()
    digests = Digests(identifiers, key=key)
    again = Digests.from_bytes(digests.to_bytes(), key=key)
    lowered = {each.lower() for each in identifiers}
    for text in identifiers | others:
        assert (text in digests) == (text in again) == (text.lower() in lowered)
    left = digests.without(Digests(others, key=key))
    assert all((text in left) == (text.lower() not in {each.lower() for each in others}) for text in identifiers)

"""The compiled engine: what becomes of records, good, odd and bad."""

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model import Tile, Window
from pipeline.ports import RowFilter
from pipeline.sanitize.columnar import ColumnarSanitizer, UnreadablePage
from pipeline.sanitize.columns import output_schema
from pipeline.sanitize.instant_columns import parse_instants
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import PROFILES, Profile, built_in_rules
from pipeline.sanitize.treatments import Treatments

PSEUDONYMIZER = Pseudonymizer(salt="columnar-salt-0123456789")


def sanitizer(
    dataset: str = "mail_messages", profile: Profile = "strict", instants: tuple[str, ...] = ()
) -> ColumnarSanitizer:
    return ColumnarSanitizer(
        built_in_rules()[dataset],
        profile=profile,
        treatments=Treatments(PSEUDONYMIZER, group_original=True),
        instants=instants,
    )


def page(*records: Any) -> bytes:
    return json.dumps(records).encode()


def test_addresses_become_pseudonyms_and_content_is_never_read() -> None:
    """Recipients join by token; a subject has no column at all."""
    message = {
        "id": "m1",
        "subject": "secret plan",
        "toRecipients": [{"emailAddress": {"name": "Dana", "address": "Dana@Example.org"}}],
    }
    (row,) = sanitizer().clean([page(message)]).rows.to_pylist()

    address = row["toRecipients"][0]["emailAddress"]["address"]
    assert address == PSEUDONYMIZER.token("Dana@Example.org")
    assert "subject" not in row
    assert "Dana" not in str(row)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("dataset", sorted(built_in_rules()))
def test_every_dataset_has_one_schema_in_all_profiles(dataset: str, profile: Profile) -> None:
    """What a profile drops is a null column, so that files of all profiles can be read together."""
    engine = sanitizer(dataset, profile)

    rows = engine.clean([page({"id": "x"})]).rows

    assert rows.schema == output_schema(built_in_rules()[dataset])
    assert len(rows) == 1


def test_dropped_fields_are_null_although_they_were_sent() -> None:
    """A server that ignores `$select` changes nothing."""
    (strict,) = sanitizer(profile="strict").clean([page({"id": "m", "webLink": "https://x.test"})]).rows.to_pylist()
    (psoxy,) = sanitizer(profile="psoxy").clean([page({"id": "m", "webLink": "https://x.test"})]).rows.to_pylist()

    assert strict["webLink"] is None
    assert psoxy["webLink"] == "https://x.test"


def test_structures_keep_their_nulls_and_lengths() -> None:
    """Null, missing and empty lists and structs come out as they went in."""
    records = [
        {"id": "1", "toRecipients": None, "from": None},
        {"id": "2", "toRecipients": [], "from": {"emailAddress": None}},
        {"id": "3", "toRecipients": [None, {"emailAddress": {"address": None}}], "from": {"emailAddress": {}}},
        {"id": "4"},
    ]
    rows = sanitizer().clean([page(*records)]).rows.to_pylist()

    assert [row["toRecipients"] for row in rows] == [None, [], [None, {"emailAddress": {"address": None}}], None]
    assert rows[0]["from"] is None
    assert rows[1]["from"] == {"emailAddress": None}
    assert rows[2]["from"] == {"emailAddress": {"address": None}}


def test_bad_records_are_rejected_alone_and_counted_by_reason() -> None:
    """A record of the wrong type costs itself; the others of its page pass, in order."""
    text = (
        b'[{"id":"a"},{"id":5},null,{"id":null},"text",{"id":"b","receivedDateTime":"yesterday"},'
        b'{"id":"c","id":"d"},{"id":"e"}]'
    )
    cleaned = sanitizer(profile="psoxy").clean([text])

    assert [row["id"] for row in cleaned.rows.to_pylist()] == ["a", "d", "e"]
    assert cleaned.rejected == {"wrong_type": 2, "not_an_object": 2, "missing_key": 1}


def test_a_page_that_is_no_array_is_refused_without_quoting_it() -> None:
    """The error holds nothing of the page."""
    with pytest.raises(UnreadablePage) as caught:
        sanitizer().clean([b'[{"id": "planted-secret"'])

    assert "planted" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_rows_outside_the_window_are_left_out_to_the_microsecond() -> None:
    """Half-open: the first instant is in, the last one is not; seven digits are cut, not rounded."""
    window = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    times = {
        "before": "2026-02-28T23:59:59.9999999Z",
        "first": "2026-03-01T00:00:00Z",
        "last": "2026-03-01T23:59:59.9999999Z",
        "end": "2026-03-02T00:00:00.0000000Z",
    }
    records = [{"id": name, "receivedDateTime": text} for name, text in times.items()]
    rows = sanitizer(profile="psoxy", instants=("receivedDateTime",)).clean([page(*records)], window=window).rows

    assert rows["id"].to_pylist() == ["first", "last"]


def test_a_row_filter_sees_each_distinct_text_once() -> None:
    """The predicate is asked per distinct chat, not per message."""
    asked: list[str] = []

    def keeps(text: str) -> bool:
        asked.append(text)
        return text == "mine"

    records = [{"id": str(number), "chatId": "mine" if number % 2 else "theirs"} for number in range(10)]
    engine = sanitizer("teams_chat_messages", "psoxy")
    rows = engine.clean([page(*records)], row_filter=RowFilter("chatId", keeps)).rows

    assert len(rows) == 5
    assert sorted(asked) == ["mine", "theirs"]


def test_a_unit_holds_each_key_once_the_one_read_last() -> None:
    """Overlapping pages of a changing mailbox do not double a message."""
    engine = sanitizer(profile="psoxy")
    first = engine.clean([page({"id": "a", "isRead": False}, {"id": "b"})]).rows
    second = engine.clean([page({"id": "a", "isRead": True}, {"id": "c"})]).rows

    rows = engine.whole([first, second]).to_pylist()

    assert sorted(row["id"] for row in rows) == ["a", "b", "c"]
    assert [row["isRead"] for row in rows if row["id"] == "a"] == [True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-02T09:00:00Z", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("2026-03-02T09:00:00.1234567Z", datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-02T09:00:00.5Z", datetime(2026, 3, 2, 9, 0, 0, 500000, tzinfo=UTC)),
        ("2026-03-02T10:00:00+01:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        (None, None),
    ],
)
def test_instants_in_every_form_graph_uses(text: str | None, expected: datetime | None) -> None:
    """0, 3, 6 or 7 digits, an offset, and "never"."""
    together = parse_instants(pa.array([text, "2026-01-01T00:00:00Z"], pa.string()), zoned=True)

    assert together[0].as_py() == expected


def test_an_instant_without_zone_is_utc_where_graph_sends_none() -> None:
    """`dateTimeTimeZone` has no offset; UTC was asked for."""
    (instant,) = parse_instants(pa.array(["2026-03-02T09:00:00.0000000"]), zoned=False).to_pylist()

    assert instant == datetime(2026, 3, 2, 9, tzinfo=UTC)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["id", "from", "toRecipients", "receivedDateTime", "isRead", "categories", "flag"])


@given(st.lists(st.dictionaries(FIELDS, JSON, max_size=5) | JSON, max_size=6))
def test_any_json_is_either_a_row_or_a_counted_rejection(records: list[Any]) -> None:
    """Sanitizing is total: whatever a page holds, every record is accounted for."""
    cleaned = sanitizer().clean([page(*records)])

    assert len(cleaned.rows) + sum(cleaned.rejected.values()) == len(records)


def test_a_record_with_two_instants_belongs_to_one_tile_of_a_divided_window() -> None:
    """Created in the first half and changed in the second, a message is exported with the first half only."""
    day = [datetime(2026, 3, number, tzinfo=UTC) for number in range(1, 5)]
    whole = Window(day[1], day[3])
    times = {
        "both halves": ("2026-03-02T01:00:00Z", "2026-03-03T01:00:00Z"),
        "changed later": ("2026-03-02T02:00:00Z", "2026-03-09T00:00:00Z"),
        "created earlier": ("2026-02-01T00:00:00Z", "2026-03-03T02:00:00Z"),
        "outside": ("2026-02-01T00:00:00Z", "2026-03-09T00:00:00Z"),
    }
    records = [
        {"id": name, "chatId": "c", "createdDateTime": created, "lastModifiedDateTime": changed}
        for name, (created, changed) in times.items()
    ]
    engine = sanitizer("teams_chat_messages", "psoxy", ("createdDateTime", "lastModifiedDateTime"))

    def ids(window: Window) -> list[str]:
        found: list[str] = engine.clean([page(*records)], window=window).rows["id"].to_pylist()
        return found

    assert ids(Tile(day[1], day[2], whole)) == ["both halves", "changed later"]
    assert ids(Tile(day[2], day[3], whole)) == ["created earlier"]
    assert ids(whole) == ["both halves", "changed later", "created earlier"]

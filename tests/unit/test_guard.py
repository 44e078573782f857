"""The egress guard finds a leak in every kind of column, and next to nothing where there is none."""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from pipeline.completeness import Method
from pipeline.errors import FailReason, UnitFailed
from pipeline.memory import Memory
from pipeline.model import Page, Principal, RunKind, Unit
from pipeline.parts import UnitResult
from pipeline.reading import BATCH_BYTES, UnitReader
from pipeline.run import Request, export
from pipeline.sanitize.columnar import ColumnarSanitizer
from pipeline.sanitize.columns import TEXT_TYPES, output_schema
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.guard import Breach, EgressGuard, _first_without
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import PROFILES, FieldRule, Profile, built_in_rules
from pipeline.sanitize.shapes import Shape, TokenForms, declared_shape
from pipeline.sanitize.treatments import Treatments
from tests.harness import Harness, SmallTenant

LEAKS = {
    "address": "write to zoe.lindqvist@elsewhere.example today",
    "phone": "call +46 8 123 456 78",
    "bearer": "Bearer eyJhbGciOiJSUzI1NiIs.eyJhdWQiOiJodHRwczov.c2lnbmF0dXJl",
    "directory": "zoe.lindqvist@contoso.com",
    "name": "with Zoe Lindqvist, second floor",
}
GUID = "3f2504e0-4f89-41d3-9a0c-0305e82c330"  # and one digit
MEETUP = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_Zm9v%40thread.v2/0?context=%7b%22Oid%22%3a%221%22%7d"
TOKEN = "t~" + "Ab0_-" * 8 + "xyz"


@cache
def directory() -> DirectoryIndex:
    index = DirectoryIndex()
    index.learn(
        msgspec.json.encode(
            [{"displayName": "Zoe Lindqvist", "mail": LEAKS["directory"], "mobilePhone": "+46 8 123 456 78"}]
        )
    )
    return index


def guard(dataset: str, profile: Profile, **options: Any) -> EgressGuard:
    return EgressGuard(built_in_rules()[dataset], profile=profile, directory=directory(), **options)


def row_with(rule: FieldRule, value: str | None) -> dict[str, Any]:
    """A record that has `value` at one path and nothing else."""
    inner: Any = value
    for step in reversed(rule.steps):
        inner = {step.name: [inner] if step.many else inner}
    assert isinstance(inner, dict)
    return inner


def table(dataset: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=output_schema(built_in_rules()[dataset]))


def text_fields() -> Iterator[tuple[str, FieldRule]]:
    for dataset, rules in built_in_rules().items():
        yield from ((dataset, rule) for rule in rules.fields if rule.type in TEXT_TYPES)


def is_open(rule: FieldRule, profile: Profile) -> bool:
    return rule.treatment(profile) != "drop" and declared_shape(rule, profile, TokenForms()) is None


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_found_in_every_text_column(profile: Profile, leak: str) -> None:
    """Each text column of each dataset, closed, open or dropped: the breach names it, unless the rules exempt it."""
    looked_at = 0
    for dataset, rule in text_fields():
        if is_open(rule, profile) and leak in rule.exempt:
            continue
        looked_at += 1
        breach = guard(dataset, profile).check(table(dataset, [{}, row_with(rule, LEAKS[leak])])).breach
        assert breach is not None, (dataset, rule.path)
        assert (breach.dataset, breach.column) == (dataset, rule.path)
    assert looked_at > 200


@pytest.mark.parametrize("profile", PROFILES)
def test_a_planted_leak_is_found_among_many_rows(profile: Profile) -> None:
    """The vectorised way, for units of some size, finds the same as the one for small ones."""
    for dataset, rule in text_fields():
        rows: list[dict[str, Any]] = [*({} for _ in range(300)), row_with(rule, LEAKS["address"])]
        rows += [row_with(rule, "" if number % 2 else f"{TOKEN[:-4]}{number:04}") for number in range(1, 300)]
        found = guard(dataset, profile).check(table(dataset, rows)).breach
        if not (is_open(rule, profile) and "address" in rule.exempt):
            assert found is not None, (dataset, rule.path)
            assert found.column == rule.path


@pytest.mark.parametrize("profile", PROFILES)
def test_rows_without_values_pass(profile: Profile) -> None:
    """No rows, rows of nothing, and lists of nothing hold nothing that could leak."""
    for dataset, rules in built_in_rules().items():
        empty = output_schema(rules).empty_table()
        hollow = table(dataset, [row_with(rule, None) for rule in rules.fields if rule.type in TEXT_TYPES])
        for rows in (empty, pa.concat_tables([empty, empty]), hollow, hollow.slice(0, 0), table(dataset, [{}] * 300)):
            assert guard(dataset, profile).check(rows).breach is None


def test_a_tombstone_is_matched_too() -> None:
    """`_removed` holds a word of Graph's, nothing typed."""
    for reason, fine in (("deleted", True), (None, True), ("Zoe Lindqvist left", False)):
        rows = table("teams_chats", [{}]).append_column("_removed", pa.array([reason], pa.string()))
        assert (guard("teams_chats", "strict").check(rows).breach is None) is fine


def test_exempt_columns_are_still_searched_for_the_tenants_own() -> None:
    """A message id has the form of an address, so only addresses of the directory are a breach there."""
    [rule] = [rule for rule in built_in_rules()["mail_messages"].fields if rule.path == "internetMessageId"]
    keeper = guard("mail_messages", "psoxy")
    harmless = [row_with(rule, f"<2026{number:09}.A1@mail.contoso.com>") for number in range(400)]
    assert keeper.check(table("mail_messages", harmless)).breach is None
    breach = keeper.check(table("mail_messages", [*harmless, row_with(rule, f"<{LEAKS['directory']}>")])).breach
    assert breach == Breach("mail_messages", "internetMessageId", "directory")


def test_a_column_that_nobody_decided_about_is_a_breach() -> None:
    """And so is one in another's place: a column is looked at for what the rules say of it."""
    rows = table("entra_users", [{"id": TOKEN}])
    more = rows.append_column("shoeSize", pa.array(["44"]))
    elsewhere = rows.select([*rows.column_names[1:], rows.column_names[0]])
    found = [guard("entra_users", "strict").check(each).breach for each in (rows, more, elsewhere)]
    assert found == [None, Breach("entra_users", "*", "columns"), Breach("entra_users", "*", "columns")]


def test_a_breach_says_where_and_what_but_never_the_value() -> None:
    """Dataset, column and rule, in text and repr."""
    [rule] = [rule for rule in built_in_rules()["calendar_events"].fields if rule.path == "subject"]
    breach = guard("calendar_events", "strict").check(table("calendar_events", [row_with(rule, LEAKS["name"])])).breach
    assert str(breach) == "calendar_events.subject: name"
    assert "Zoe" not in repr(breach)


@pytest.mark.parametrize(
    ("profile", "owner", "fine"),
    [
        ("strict", TOKEN, True),
        ("strict", f"{GUID}1", False),
        ("psoxy", f"{GUID}1", True),
        ("psoxy", "zoe@contoso.com", False),
    ],
)
def test_the_owner_is_matched_like_the_id_it_repeats(profile: Profile, owner: str, fine: bool) -> None:
    """`_owner` is stamped on the rows after the guard, so the guard sees it beforehand."""
    id_rule = built_in_rules()["entra_users"].fields[0]
    keeper = guard("mail_messages", profile, owner=id_rule)
    breach = keeper.check(table("mail_messages", []), owner=owner).breach
    assert (breach is None) is fine
    assert breach is None or breach.column == "_owner"


def test_an_owner_where_none_belongs_is_a_breach() -> None:
    """A dataset without an owner has nothing to stamp."""
    assert guard("teams_chats", "strict").check(table("teams_chats", []), owner=TOKEN).breach is not None


def test_a_verdict_is_not_kept_when_the_directory_grows() -> None:
    """A text that was fine is looked at again once its name is known."""
    people = DirectoryIndex()
    keeper = EgressGuard(built_in_rules()["calendar_events"], profile="strict", directory=people)
    [rule] = [rule for rule in built_in_rules()["calendar_events"].fields if rule.path == "subject"]
    rows = table("calendar_events", [row_with(rule, "1:1 Bo Ek")])
    assert keeper.check(rows).breach is None
    people.learn(b'[{"displayName": "Bo Ek"}]')
    assert keeper.check(rows).breach == Breach("calendar_events", "subject", "name")


GIVEN = ("Will", "April", "June", "Anna", "José", "Mark", "Grace", "Priya", "Zoë", "Bill", "Drew", "Mei")
FAMILY = ("May", "Sales", "Canada", "Price", "Young", "Müller", "O'Hara", "Lake", "de la Cruz", "King", "Field", "Ng")
PLACES = ("Sales", "Canada", "Sales Canada", "Field Sales", "Human Resources", "Lake Street", "San José", "May Hall")
TYPED = (
    "May", "in May", "Sales Canada", "May planning", "we will may be late", "Price list", "young talents", "Q2 2026",
    "King size room 12.04", "2026-05-04 - 2026-05-08", "10:00-11:30", "Canada Day", "Drew up the plan", "50% off",
    "Field day, 5/4/2026", "grace period", "Room 4.123/2", "version 10.2.33", "Building 1200-A", "$ 1,250.00",
    "3rd floor, B-204",
)  # fmt: skip


def tenant_with_ordinary_names(generator: random.Random) -> DirectoryIndex:
    """People called Will May, April Sales or Drew Canada; rooms and shared mailboxes called like places."""
    index = DirectoryIndex(key=b"fixed")
    people = [f"{generator.choice(GIVEN)} {generator.choice(FAMILY)}" for _ in range(5_000)]
    users: list[dict[str, object]] = [
        {
            "displayName": name,
            "userPrincipalName": f"u{number}@contoso.com",
            "mail": f"u{number}@contoso.com",
            "mobilePhone": f"+1 604 {generator.randrange(10**7):07}",
            "department": generator.choice(PLACES),
            "officeLocation": generator.choice(PLACES),
        }
        for number, name in enumerate(people)
    ]
    users += [{"displayName": place, "userPrincipalName": f"room{place}@contoso.com"} for place in PLACES]
    index.learn(msgspec.json.encode(users))
    return index


def graph_id(generator: random.Random) -> str:
    return "AAMkAG" + "".join(generator.choices("ABCDEFabcdef0123456789-_", k=110)) + "AAA="


def guid(generator: random.Random, alphabet: str = "0123456789") -> str:
    """Of digits alone: the worst case for a search for phone numbers."""
    text = "".join(generator.choices(alphabet, k=32))
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def event(generator: random.Random) -> dict[str, object]:
    return {
        "id": graph_id(generator),
        "iCalUId": generator.choice([
            f"{generator.randrange(10**11)}@google.com", "040000008200E00074C5B7101A82E008" + "0" * 40, guid(generator),
        ]),
        "subject": generator.choice(TYPED),
        "categories": [generator.choice(TYPED)],
        "location": {"displayName": generator.choice((*TYPED, *PLACES))},
        "start": {"dateTime": "2026-03-02T09:00:00.0000000", "timeZone": "UTC"},
        "originalStartTimeZone": generator.choice(["Canada Central Standard Time", "(UTC+01:00) Amsterdam, Berlin"]),
        "webLink": f"https://outlook.office365.com/owa/?itemid={graph_id(generator)}&exvsurl=1&path=/calendar/item",
        "onlineMeeting": {
            "joinUrl": f"https://teams.microsoft.com/l/meetup-join/19%3ameeting_{generator.randrange(10**12)}%40thread.v2/0"
            f"?context=%7b%22Tid%22%3a%22{guid(generator)}%22%2c%22Oid%22%3a%22{guid(generator)}%22%7d"
        },
        "bodyPreview": f"https://us02web.zoom.us/j/{generator.randrange(10**11)}",
    }  # fmt: skip


def message(generator: random.Random) -> dict[str, object]:
    return {
        "id": graph_id(generator),
        "internetMessageId": f"<{generator.randrange(10**10)}.{generator.randrange(10**8)}.JavaMail@mx.contoso.com>",
        "conversationId": graph_id(generator),
        "receivedDateTime": "2026-03-02T09:00:00Z",
        "importance": "normal",
        "categories": generator.sample(TYPED, 2),
        "from": {"emailAddress": {"address": "will.may@contoso.com", "name": "Will May"}},
    }


def chat_message(generator: random.Random) -> dict[str, object]:
    return {
        "id": str(1_612_289_992_105 + generator.randrange(10**10)),
        "chatId": f"19:{guid(generator)}_{guid(generator)}@unq.gbl.spaces",
        "createdDateTime": "2026-03-02T09:00:00Z",
        "messageType": "message",
        "from": {"application": {"id": guid(generator)}, "user": {"id": guid(generator)}},
        "reactions": [{"reactionType": generator.choice(["like", "👍", "heart"])}],
    }


def pstn_call(generator: random.Random) -> dict[str, object]:
    return {
        "id": guid(generator),
        "callId": str(generator.randrange(10**15)),
        "startDateTime": "2026-03-02T09:00:00Z",
        "callType": "user_in",
        "conferenceId": str(generator.randrange(10**9)),
        "destinationName": generator.choice(["Canada", "South Africa", "United States"]),
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_false_alarms_are_rare(profile: Profile) -> None:
    """28,000 generated rows of people called May, Sales and Canada and ids like phone numbers: not one unit fails."""
    generator = random.Random(profile)
    people = tenant_with_ordinary_names(generator)
    treatments = Treatments(Pseudonymizer(salt="salt"), group_original=True, holds_person=people.holds_person)
    rows = alarms = 0
    for dataset, record in (
        ("calendar_events", event), ("mail_messages", message), ("teams_chat_messages", chat_message),
        ("teams_pstn_calls", pstn_call),
    ):  # fmt: skip
        rules = built_in_rules()[dataset]
        sanitizer = ColumnarSanitizer(rules, profile=profile, treatments=treatments)
        keeper = EgressGuard(rules, profile=profile, directory=people)
        for _ in range(70):
            cleaned = sanitizer.clean([msgspec.json.encode([record(generator) for _ in range(100)])])
            assert not cleaned.rejected
            rows += len(cleaned.rows)
            alarms += keeper.check(cleaned.rows).breach is not None
    assert rows == 28_000
    assert alarms == 0


def test_typed_texts_survive_the_same_search() -> None:
    """The `free-text` treatment uses the recognisers of the guard: harmless texts are not emptied, a full name is."""
    people = tenant_with_ordinary_names(random.Random(1))
    treat = Treatments(Pseudonymizer(salt="salt"), group_original=True, holds_person=people.holds_person)["free-text"]
    assert treat([*TYPED, *PLACES]) == [*TYPED, *PLACES]
    assert treat(["desk of Will May", "José de la Cruz", "anna müller"]) == [None, None, None]


def test_what_a_filter_leaves_passes_the_guard() -> None:
    """Links with a signature glued to them are emptied, as are links that spell a name in typed text; others stay."""
    people = directory()
    treatments = Treatments(Pseudonymizer(salt="salt"), group_original=True, holds_person=people.holds_person)
    zoom = "https://us02web.zoom.us/j/123"
    texts = [f"{zoom}?pwd=x", f"{zoom}<br>bo@elsewhere.example", f"{zoom}<br>Zoe-Lindqvist"]
    assert treatments["zoom-links"](texts) == [f"{zoom}?", None, None]
    skype = "https://meet.lync.com/contoso/zoe.lindqvist/A1"
    assert treatments["free-text"]([skype, f"{zoom}?pwd=x&a=b"]) == [None, f"{zoom}?&a=b"]


@pytest.mark.parametrize(
    "link",
    [
        MEETUP,
        MEETUP.replace("https://", "HTTPS://"),
        f"https://teams.microsoft.com/l/chat/19:{GUID}1_{GUID}2@unq.gbl.spaces/0?tenantId={GUID}3",
        f"https://teams.live.com/l/message/19%3A{GUID}1_{GUID}2%40unq.gbl.spaces/1?context=%7b%22Oid%22:%22{GUID}3%22%7d",
        f"https://teams.microsoft.com/l/meetup-join/19:meeting_Zm9v@thread.v2/0?context=%7b%22Oid%22%3a%22{GUID}1%22%7d>",
    ],
)
def test_a_link_into_teams_spells_no_account_in_typed_text(link: str) -> None:
    """Where a place or category is a link that was pasted: thread and organizer are pseudonyms, the words stay."""
    treat = Treatments(Pseudonymizer(salt="salt"), group_original=True)["free-text"]
    [text] = treat([f"Room 4, or {link} if remote"])
    assert text is not None
    assert text.startswith("Room 4, or https://teams.")
    assert text.endswith(" if remote")
    assert GUID not in text
    assert "Zm9v" not in text
    assert ("/l/meetup-join/19:meeting_t~" in text) is ("meetup" in link)


def test_an_enum_has_no_room_for_a_token_or_a_user_name() -> None:
    """Words of Microsoft's have no dots: what looks like a sign-in name, a host or a bearer token is none."""
    [rule] = [rule for rule in built_in_rules()["mail_messages"].fields if rule.path == "importance"]
    for value in ("zoe.lindqvist", "laptop.contoso.com", LEAKS["bearer"].removeprefix("Bearer "), "x" * 65, "#zoe"):
        breach = guard("mail_messages", "psoxy").check(table("mail_messages", [row_with(rule, value)])).breach
        assert breach == Breach("mail_messages", "importance", "enum")
    for value in ("normal", "onPremises, cloud", "unknownFutureValue"):
        assert guard("mail_messages", "psoxy").check(table("mail_messages", [row_with(rule, value)])).breach is None


async def test_a_breach_fails_the_unit_and_nothing_of_it_is_written() -> None:
    """Treatments that let everything pass: every unit fails as `egress_guard`, the run is partial, no value leaves."""
    harness = Harness(SmallTenant.with_mail(users=2, messages=4))
    equipment = harness.equip()
    leaky = {
        dataset: ColumnarSanitizer(rules, profile="strict", treatments=_PassEverything())
        for dataset, rules in built_in_rules().items()
        if dataset in equipment.sanitizers
    }
    [outcome] = await export(replace(equipment, sanitizers=leaky), Request(kind=RunKind.RUN))

    assert outcome.manifest is not None
    assert outcome.manifest.status == "partial"
    assert {left.reason for left in outcome.manifest.failed} == {FailReason.EGRESS_GUARD}
    assert {left.dataset for left in outcome.manifest.failed} == {"entra_users", "mail_messages"}
    assert outcome.manifest.datasets["mail_messages"].units.failed > 0
    assert outcome.manifest.datasets["mailbox_settings"].rows == 2
    assert not any(key.endswith(".parquet") for key in harness.bucket.objects if "mailbox_settings" not in key)


async def test_users_are_read_again_when_a_name_was_learnt_after_its_use() -> None:
    """A department named after somebody on a later page is emptied on the second reading, not a breach."""
    pages = [
        [{"id": f"{GUID}1", "department": "Team Zoe Lindqvist", "aboutMe": "x" * BATCH_BYTES}],
        [{"id": f"{GUID}2", "displayName": "Zoe Lindqvist", "department": "Sales"}],
    ]
    source = _Pages(pages)
    result = await _read(source, Unit("entra_users", Principal.tenant("t")))
    assert result.rows["department"].to_pylist() == [None, "Sales"]
    assert source.readings == 2


async def test_a_leak_that_reading_again_does_not_cure_fails() -> None:
    """The second reading is the last one when it teaches nothing new."""
    source = _Pages([[{"id": f"{GUID}1", "preferredLanguage": "Zoe Lindqvist", "displayName": "Zoe Lindqvist"}]])
    with pytest.raises(UnitFailed, match=r"entra_users\.preferredLanguage: name") as caught:
        await _read(source, Unit("entra_users", Principal.tenant("t")))
    assert caught.value.reason is FailReason.EGRESS_GUARD
    assert source.readings == 2


class _PassEverything(Treatments):
    """A broken build of the treatments: values leave as they came."""

    def __init__(self) -> None:
        super().__init__(Pseudonymizer(salt="salt"), group_original=True)

    def __getitem__(self, name: str) -> Any:
        return list

    def once(self, name: str, values: Any) -> Any:
        return values


class _Pages:
    """A source of given pages of users."""

    completeness = Method.NONE

    def __init__(self, pages: list[list[dict[str, Any]]]) -> None:
        self._pages = pages
        self.readings = 0

    def filter(self, unit: Unit) -> None:
        return None

    async def pages(self, unit: Unit) -> AsyncIterator[Page]:
        self.readings += 1
        for page in self._pages:
            yield Page(msgspec.json.encode(page))


async def _read(source: Any, unit: Unit) -> UnitResult:
    memory = Memory(1 << 30)
    with memory.hold(unit.dataset) as hold:
        return await _reader(source, memory).read(unit, hold)


def _reader(source: Any, memory: Memory) -> UnitReader:
    people = DirectoryIndex()
    rules = built_in_rules()["entra_users"]
    treatments = Treatments(Pseudonymizer(salt="salt"), group_original=True, holds_person=people.holds_person)

    async def blocking(function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return UnitReader(
        sources={"entra_users": source},
        sanitizers={"entra_users": ColumnarSanitizer(rules, profile="psoxy", treatments=treatments)},
        guards={"entra_users": EgressGuard(rules, profile="psoxy", directory=people)},
        directory=people,
        run_id="r",
        pseudonym=lambda principal: principal.id,
        owner=lambda _dataset, _principal: None,
        blocking=blocking,
        memory=memory,
    )


def test_columns_that_break_a_shape_only_together_are_broken() -> None:
    """The engines for many texts and for few may differ in a letter: then nothing leaves, and nothing crashes."""
    arabic = [pa.array([f"{number}\u0661" for number in range(first, first + 300)]) for first in (0, 300)]
    columns = [("first", arabic[:1]), ("second", arabic[1:])]

    assert _first_without(Shape("digits", r"\d+"), columns) == "first"
    assert _first_without(Shape("digits", r".+"), columns) is None

"""The field ledger counts what left exactly, finds what stayed behind by name, and holds no value."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.field_counts import MAX_PATHS, OTHER_PATHS, SAMPLE_SHARE, FieldCounts, is_scanned, total
from pipeline.manifest import fields_path
from pipeline.model import Principal, PrincipalKind, RunKind, Unit, Window
from pipeline.run import Request, export
from pipeline.sanitize.columnar import Cleaned, ColumnarSanitizer, may_be_deep
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.guard import EgressGuard
from pipeline.sanitize.ledger import FieldLedger, fate_of, fields_file
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import PROFILES, Profile, built_in_rules
from pipeline.sanitize.shapes import TokenForms
from pipeline.sanitize.treatments import Treatments
from sinks.stores.memory import Step
from tests.harness import Harness, SmallTenant
from tests.unit.test_crash_matrix import count_steps, die_at, small_harness

MAIL = built_in_rules()["mail_messages"]
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def clean(*records: Any, profile: str = "strict", dataset: str = "mail_messages") -> Cleaned:
    sanitizer = ColumnarSanitizer(
        built_in_rules()[dataset],
        profile=profile,  # type: ignore[arg-type]  # a literal, given as text
        treatments=Treatments(Pseudonymizer(salt="salt"), group_original=True),
    )
    return sanitizer.clean([msgspec.json.encode(records)], scan=True)


def kept(rows: pa.Table, profile: Profile = "strict") -> Mapping[str, int]:
    return EgressGuard(MAIL, profile=profile, directory=DirectoryIndex()).check(rows).kept


MESSAGE = {
    "id": "AAMk1",
    "subject": "secret",
    "categories": ["a", None, "b"],
    "from": {"emailAddress": {"name": "Anna", "address": "anna@contoso.com"}},
    "toRecipients": [{"emailAddress": {"name": "Bo", "address": "bo@x.org"}}, {"emailAddress": {"name": None}}, None],
    "ccRecipients": [],
    "flag": {"flagStatus": "notFlagged", "dueDateTime": {"dateTime": "2026-03-01T00:00:00"}},
    "newThing": {"deep": [1, {"deeper": "secret"}]},
    "bodyPreview": None,
}


def test_published_values_are_counted_exactly() -> None:
    """Non-null leaves of the rows; items of lists one by one; columns the profile drops are not there."""
    rows = clean(MESSAGE, {"id": "AAMk2", "from": None, "toRecipients": None}).rows
    assert kept(rows) == {
        "id": 2,
        "from.emailAddress.address": 1,
        "toRecipients[].emailAddress.address": 1,
        "flag.flagStatus": 1,
    }
    assert clean(MESSAGE, profile="psoxy").rows["categories"].to_pylist() == [["a", None, "b"]]
    psoxy = kept(clean(MESSAGE, profile="psoxy").rows, profile="psoxy")
    assert psoxy["categories[]"] == 2


def test_what_stays_behind_is_found_by_name() -> None:
    """Dropped and unlisted paths with how often they had a value; below them nothing is named."""
    seen = clean(MESSAGE, {"id": "AAMk2"}).seen
    assert seen.records == 2
    assert dict(seen.counts) == {
        "subject": 1,
        "categories[]": 2,
        "from.emailAddress.name": 1,
        "toRecipients[].emailAddress.name": 1,
        "flag.dueDateTime": 1,
        "newThing": 1,
        "bodyPreview": 0,
    }


def test_without_a_scan_nothing_is_seen() -> None:
    """Fields that stay behind never become values on an ordinary page."""
    sanitizer = ColumnarSanitizer(
        MAIL, profile="strict", treatments=Treatments(Pseudonymizer(salt="salt"), group_original=True)
    )
    cleaned = sanitizer.clean([msgspec.json.encode([MESSAGE])])
    assert (cleaned.seen.records, dict(cleaned.seen.counts)) == (0, {})


def test_a_scan_changes_nothing_about_the_rows() -> None:
    """Rows are the same with and without; also where an unlisted field changes its type, which Arrow refuses."""
    sanitizer = ColumnarSanitizer(
        MAIL, profile="strict", treatments=Treatments(Pseudonymizer(salt="salt"), group_original=True)
    )
    for odd in ([1, "x"], ["x", {"y": 1}], [None, [1]], [{"a": 1}, {"a": "b"}]):
        page = msgspec.json.encode([MESSAGE | {"newThing": each, "id": f"AAMk{n}"} for n, each in enumerate(odd)])
        scanned = sanitizer.clean([page], scan=True)
        assert scanned.rows.equals(sanitizer.clean([page]).rows)
        assert scanned.rejected == {}
        assert scanned.seen.counts["newThing"] == sum(each is not None for each in odd)
        assert scanned.seen.records == 2


@pytest.mark.parametrize("profile", PROFILES)
def test_unlisted_fields_may_stand_anywhere(profile: Profile) -> None:
    """Also before those that are kept, in structures and items too: no value comes into another's column."""

    def surrounded(value: Any) -> Any:
        if isinstance(value, list):
            return [surrounded(item) for item in value]
        if not isinstance(value, dict):
            return value
        inner = {name: surrounded(inner) for name, inner in reversed(value.items())}
        return {"aNew": "early", **inner, "zNew": [{"late": 1}]}

    known = {name: value for name, value in MESSAGE.items() if name != "newThing"}
    plain = clean(known, {"id": "AAMk2", "from": None}, profile=profile)
    odd = clean(surrounded(known), {"zNew": [], "from": None, "id": "AAMk2"}, profile=profile)
    assert odd.rows.equals(plain.rows)
    assert odd.seen.counts["aNew"] == 1
    assert odd.seen.counts["toRecipients[].emailAddress.zNew"] == 2


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_a_field_of_absurd_depth_is_survived(opening: bytes, closing: bytes) -> None:
    """Where inferring its type would overflow the stack, the page is cleaned all the same."""
    sanitizer = ColumnarSanitizer(
        MAIL, profile="strict", treatments=Treatments(Pseudonymizer(salt="salt"), group_original=True)
    )
    page = b'[{"id": "AAMk1", "new": ' + opening * 50_000 + b"1" + closing * 50_000 + b"}]"
    assert len(sanitizer.clean([page], scan=True).rows) == 1


@pytest.mark.parametrize("closing", [b"]" * 256, b"}" * 256, b"}]" * 128])
def test_nesting_that_is_too_deep_is_seen_wherever_it_lies(closing: bytes) -> None:
    """Looking at some of a page's bytes misses no run of closing brackets, and takes nothing else for one."""
    for shift in range(130):
        before = b" " * shift
        assert may_be_deep(before + b"1" + closing + b"  ")
        assert not may_be_deep(before + b"1" + closing[:128] + b"," + closing[128:])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["x", "name"]), inner, max_size=2),
    max_leaves=4,
)
mailboxes = st.none() | st.fixed_dictionaries(
    {}, optional={"emailAddress": st.none() | st.fixed_dictionaries({}, optional={"name": json_values})}
)
messages = st.fixed_dictionaries(
    {"id": st.just("AAMk1")},
    optional={
        "from": mailboxes,
        "toRecipients": st.none() | st.lists(mailboxes, max_size=2),
        "categories": st.none() | st.lists(st.none() | st.text("ab", max_size=2), max_size=2),
        "body": json_values,
        "new": json_values,
    },
)


@given(records=st.lists(messages, max_size=4))
def test_both_ways_to_scan_agree(records: list[Any]) -> None:
    """What Arrow infers from a page and what a walk over its records finds are the same."""
    fast = {path: count for path, count in clean(*records).seen.counts.items() if count}
    slow = FieldLedger(MAIL, profile="strict").scan_pages([msgspec.json.encode(records)])
    assert {path: count for path, count in slow.counts.items() if count} == fast
    assert slow.records == len(records)


@pytest.mark.parametrize(
    "key",
    ["anna@contoso.com", "+4930123456", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "Anna Schmidt", "n1612289992105", "ä"],
)
def test_a_value_that_serves_as_a_key_is_not_named(key: str) -> None:
    """Dictionaries keyed by people appear as `*`; property names and annotations appear as they are."""
    counts = clean({"id": "AAMk1", key: 1, "extension_1a2b_costCenter": 1, "to@odata.nextLink": 1}).seen.counts
    assert dict(counts) == {OTHER_PATHS: 1, "extension_1a2b_costCenter": 1, "to@odata.nextLink": 1}


def test_the_number_of_paths_is_bounded() -> None:
    """A record with a thousand keys fills one counter, not the memory."""
    counts = FieldCounts()
    counts.add_left_behind({f"key_{number}": 1 for number in range(MAX_PATHS + 40)}, records=1)
    counts.add_left_behind({"key_1": 1, "another": 1}, records=1)
    assert len(counts.left_behind) == MAX_PATHS + 1
    assert counts.left_behind[OTHER_PATHS] == 41
    assert counts.left_behind["key_1"] == 2


def test_counts_of_units_add_up() -> None:
    """Sums of every member; neither addend changes."""
    one = FieldCounts(kept={"a": 1}, left_behind={"x": 1}, pages=3, scanned_pages=1, scanned_records=5)
    both = total([one, one, FieldCounts()])
    assert both == FieldCounts(kept={"a": 2}, left_behind={"x": 2}, pages=6, scanned_pages=2, scanned_records=10)
    assert one.kept == {"a": 1}


def test_the_first_page_is_scanned_and_about_one_percent_of_the_others() -> None:
    """The choice depends on run, unit and page alone, so a continued run makes the same one."""
    units = [
        Unit("mail_messages", Principal(PrincipalKind.USER, str(number)), Window(NOW, NOW + timedelta(days=1)))
        for number in range(100)
    ]
    assert all(is_scanned("run", unit, 0) for unit in units)
    chosen = [(unit, page) for unit in units for page in range(1, 201) if is_scanned("run", unit, page)]
    assert 0.7 * SAMPLE_SHARE < len(chosen) / 20_000 < 1.3 * SAMPLE_SHARE
    assert chosen == [(unit, page) for unit in units for page in range(1, 201) if is_scanned("run", unit, page)]
    assert chosen != [(unit, page) for unit in units for page in range(1, 201) if is_scanned("other", unit, page)]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_side_file_has_every_path_once_with_its_fate(profile: Any) -> None:
    """All listed and dropped paths of all datasets, plus what was met and is unlisted."""
    rules = built_in_rules()
    counts = {"mail_messages": FieldCounts(kept={"id": 7}, left_behind={"subject": 2, "newThing": 1}, pages=1)}
    forms = TokenForms(domains="tokenize", group_original=False)
    file = fields_file(rules, counts, run_id="r", profile=profile, rules_fingerprint="f", forms=forms)
    document = msgspec.json.decode(file)
    assert {key: document[key] for key in document if key != "datasets"} == {
        "fields_version": 1, "run_id": "r", "profile": profile, "rules_fingerprint": "f",
        "forms": {"email_domains": "tokenize", "group_original": False},
    }  # fmt: skip
    for dataset, rule_set in rules.items():
        lines = {line["path"]: line for line in document["datasets"][dataset]["fields"]}
        expected = {rule.path for rule in rule_set.fields} | set(rule_set.dropped)
        assert set(lines) == expected | ({"newThing"} if dataset == "mail_messages" else set())
        assert len(lines) == len(document["datasets"][dataset]["fields"])
        for rule in rule_set.fields:
            assert lines[rule.path]["fate"] == fate_of(rule, profile)
            assert lines[rule.path]["rule"] == rule.treatment(profile)
    lines = {line["path"]: line for line in document["datasets"]["mail_messages"]["fields"]}
    fate = "kept" if profile != "strict" else "pseudonymized"
    assert (lines["id"]["non_null"], lines["id"]["fate"], lines["id"]["sampled"]) == (7, fate, False)
    assert (lines["subject"]["non_null"], lines["subject"]["rule"], lines["subject"]["sampled"]) == (2, "dropped", True)
    assert (lines["newThing"]["rule"], lines["newThing"]["fate"]) == ("unlisted", "dropped")


async def test_a_run_publishes_its_side_file_before_the_manifest() -> None:
    """Whoever sees the manifest finds the side files; their counts are those of the rows."""
    harness = Harness(SmallTenant.with_mail(users=3, messages=5))
    published: list[str] = []

    async def watch(step: Step) -> None:
        if step.action == "publish" and step.when == "after" and step.key.startswith("_manifests/"):
            published.append(step.key)

    [outcome] = await export(harness.equip(hook=watch), Request(kind=RunKind.RUN))
    assert published == [f"_manifests/{outcome.run_id}{kind}.json" for kind in (".fields", ".facts", "")]
    mail = read_fields(harness, outcome.run_id)["mail_messages"]
    assert counted(mail, "id") == counted(mail, "receivedDateTime") == 15
    users = read_fields(harness, outcome.run_id)["entra_users"]
    assert counted(users, "mail") == 3
    assert users["scanned_pages"] == users["pages"] == 1


async def test_the_side_file_of_a_continued_run_covers_every_published_row() -> None:
    """Whatever step a process dies at: the counts are those of the rows a reader sees, none twice."""
    for step in range(3, await count_steps() + 1, 5):
        harness = small_harness()
        await die_at(harness, step)
        await export(harness.equip(), Request(kind=RunKind.RUN))
        files = [key for key in harness.bucket.objects if key.endswith(".fields.json")]
        assert files
        for file in files:
            run_id = file.removeprefix("_manifests/").removesuffix(".fields.json")
            rows = [row for row in harness.rows("mail_messages") if row["_run_id"] == run_id]
            assert counted(read_fields(harness, run_id)["mail_messages"], "id") == len(rows)


async def test_no_value_is_in_the_side_file() -> None:
    """Neither identifiers of the tenant nor their pseudonyms."""
    harness = Harness(SmallTenant.with_mail(users=2, messages=2))
    [outcome] = await export(harness.equip(), Request(kind=RunKind.RUN))
    text = harness.bucket.objects[fields_path(outcome.run_id)].decode()
    assert not [user for user in harness.tenant.users if user in text]
    assert "t~" not in text
    assert "@example.test" not in text


def read_fields(harness: Harness, run_id: str) -> dict[str, Any]:
    document = msgspec.json.decode(harness.bucket.objects[fields_path(run_id)])
    datasets = document["datasets"]
    assert isinstance(datasets, dict)
    return datasets


def counted(dataset: dict[str, Any], path: str) -> int:
    [line] = [line for line in dataset["fields"] if line["path"] == path]
    return int(line["non_null"])

"""What a report says of a run, and that its page is sound whatever the run holds."""

import re
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_struct

from pipeline.errors import ConfigurationError, FailReason
from pipeline.exits import Exit
from pipeline.facts import DatasetDays
from pipeline.manifest import LeftOut, Range, decode_manifest, encode_manifest
from pipeline.model import RunKind
from pipeline.report.coverage import LEVELS, MOST_COLUMNS, coverage
from pipeline.report.evidence import Evidence, gather
from pipeline.report.markup import name, tag, text
from pipeline.report.outcome import ending
from pipeline.report.page import page
from pipeline.report.trend import FEWEST_ROWS, trends
from pipeline.report.view import PRINCIPALS_SHOWN, view
from pipeline.run import Request, export
from sinks.stores.memory import MemoryStore
from tests.harness import Harness, SmallTenant
from tests.report_samples import DAY, NIGHT, facts, hostile, manifest, quiet

VOID = {"meta", "wbr", "link", "br", "img", "input", "hr"}
LARGEST_PAGE = 2_000_000


class Document(HTMLParser):
    """Reads a page and keeps what a test asks for; `unbalanced` are ends that fit no beginning."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_complete_run_is_one_calm_sentence() -> None:
    """Rows, datasets, and that nothing is missing; expected skips are told in passing."""
    found = manifest()
    assert ending(found).sentence == "1,000 rows of 1 dataset were published, and nothing is known to be missing."
    found.datasets["mail_messages"].units.skipped = 2
    assert ending(found).sentence.endswith("; 2 units were left out for expected reasons.")
    assert (ending(found).tone, ending(found).code) == ("good", Exit.COMPLETE)


def test_a_run_without_anything_new_says_so() -> None:
    """Nought rows are no failure."""
    assert ending(manifest(rows=0)).sentence == "Nothing was new, and nothing is known to be missing."


def test_a_partial_run_says_what_is_missing_and_what_becomes_of_it() -> None:
    """Whole datasets, principals, unaccounted and rejected records, in this order."""
    found = replace_struct(
        manifest(),
        status="partial",
        failed=[
            LeftOut(None, "teams_chats", FailReason.PERMISSION),
            LeftOut("t~a", "mail_messages", FailReason.TIMEOUT),
            LeftOut("t~b", "mail_messages", FailReason.INCOMPLETE),
        ],
    )
    found.datasets["mail_messages"].completeness.unexplained = 3
    found.datasets["mail_messages"].rejected["wrong_type"] = 1
    told = ending(found)
    assert told.sentence == (
        "1,000 rows of 1 dataset were published, but teams_chats (permission) could not be read, "
        "1 principal failed (timeout 1), 3 records of 1 principal are unaccounted for and 1 record was rejected. "
        "The next run tries again what failed."
    )
    assert (told.tone, told.code) == ("fair", Exit.PARTIAL)


def test_what_cannot_be_kept_in_mind_is_said_with_its_remedy() -> None:
    """By dataset; a manifest in which there is room for everything does not know the key."""
    found = replace_struct(
        manifest(), status="partial", failed=[LeftOut("t~a", "teams_chat_messages", FailReason.TIMEOUT)]
    )
    assert b"debts_dropped" not in encode_manifest(found)
    found.datasets["mail_messages"].debts_dropped = 1_200
    assert decode_manifest(encode_manifest(found)).debts_dropped == {"mail_messages": 1_200}
    assert ending(found).sentence.endswith(
        "1 principal failed (timeout 1) and more failed than can be kept in mind (mail_messages 1,200), "
        "which a backfill of this window reads. The next run tries again what failed."
    )


def test_an_abandoned_backfill_is_to_be_repeated() -> None:
    """No run catches up on a backfill, so the sentence says what does."""
    found = replace_struct(
        manifest(),
        kind=RunKind.BACKFILL,
        status="partial",
        failed=[LeftOut(None, "mail_messages", FailReason.ABANDONED)],
    )
    assert ending(found).sentence == (
        "1,000 rows of 1 dataset were published, but the run was not read to its end. "
        "Repeat the backfill to try again what failed."
    )


@pytest.mark.parametrize(("rows", "fallen"), [(499, True), (500, False), (2_000, False)])
def test_a_fall_is_less_than_half_of_what_is_usual(rows: int, fallen: bool) -> None:
    """The usual is the median of earlier runs of the same weekday."""
    earlier = [manifest(rows=1_000, nights_ago=night) for night in range(1, 15)]
    (trend,) = trends(manifest(rows=rows), earlier)
    assert (trend.usual, trend.has_fallen) == (1_000, fallen)


def test_a_sunday_is_compared_with_sundays() -> None:
    """Quiet weekends are no fall, and a quiet Wednesday is not excused by them."""
    nights = [night for night in range(1, 29) if (NIGHT - night * DAY).weekday() != NIGHT.weekday()]
    earlier = [manifest(rows=100, nights_ago=night) for night in nights]
    earlier += [manifest(rows=1_000, nights_ago=night) for night in (7, 14)]
    earlier.sort(key=lambda each: each.run_id, reverse=True)
    (trend,) = trends(manifest(rows=120), earlier)
    assert (trend.usual, trend.has_fallen) == (1_000, True)


def test_without_enough_to_compare_with_nothing_is_called_out() -> None:
    """Two runs, runs of another kind or length, a weekend without weekends, and very few rows."""
    few = [manifest(rows=1_000, nights_ago=night) for night in (1, 2)]
    backfills = [replace_struct(manifest(nights_ago=night), kind=RunKind.BACKFILL) for night in range(1, 9)]
    long = [replace_struct(each, window=Range(each.window.from_ - 30 * DAY, each.window.to)) for each in few * 4]
    for earlier in (few, backfills, long):
        assert trends(manifest(rows=1), earlier)[0].usual is None
    saturday = [manifest(rows=1_000, nights_ago=night) for night in range(5, 10)]
    assert trends(manifest(rows=1, nights_ago=4), saturday)[0].usual is None
    small = [manifest(rows=FEWEST_ROWS - 1, nights_ago=night) for night in range(1, 15)]
    assert not trends(manifest(rows=0), small)[0].has_fallen


@pytest.mark.parametrize(("days", "step"), [(30, "day"), (62, "day"), (63, "week"), (400, "week"), (1_500, "month")])
def test_many_days_become_weeks_and_months_without_losing_rows(days: int, step: str) -> None:
    """Columns follow on one another, and their sum is the number of rows."""
    first = date(2024, 1, 31)
    end = NIGHT.replace(year=2024, month=1, day=31) + days * DAY
    counts = {f"{first + timedelta(days=number)}": 1 for number in range(days)}
    found = coverage({"mail_messages": DatasetDays(counts)}, window=Range(end - days * DAY, end))
    assert found is not None
    assert (found.step, len(found.columns) <= MOST_COLUMNS) == (step, True)
    assert sum(found.rows[0].counts) + found.rows[0].earlier == days
    assert found.rows[0].level(found.rows[0].counts.index(max(found.rows[0].counts))) == LEVELS


def test_days_before_the_window_are_one_number() -> None:
    """An old chat does not make the map of last night a map of years."""
    days = DatasetDays({"2019-05-01": 7, "2026-03-04": 5}, earlier=2)
    found = coverage({"teams_chats": days}, window=Range(NIGHT - DAY, NIGHT))
    assert found is not None
    assert found.columns[0] == date(2026, 2, 3)
    assert (sum(found.rows[0].counts), found.rows[0].earlier) == (5, 9)


def test_skips_are_grouped_and_their_principals_bounded() -> None:
    """Ten thousand skips are a few lines, and the number of those not shown is told."""
    groups = view(hostile()).skips
    assert {len(group.principals) + group.more for group in groups} == {6_666, 3_334}
    assert all(len(group.principals) == PRINCIPALS_SHOWN for group in groups)


@pytest.mark.parametrize("evidence", [quiet(), hostile()], ids=["quiet", "hostile"])
def test_the_page_is_balanced_self_contained_and_small(evidence: Evidence) -> None:
    """Every element ends, ids are there once, anchors lead somewhere, nothing refers to the outside."""
    markup = page(view(evidence))
    document = Document(markup)
    assert (document.open, document.unbalanced) == ([], [])
    ids = [attributes["id"] for _, attributes in document.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(attributes["href"] or "")[1:] for kind, attributes in document.tags if kind == "a"} <= set(ids)
    kinds = {kind for kind, _ in document.tags}
    assert not kinds & {"script", "link", "img", "iframe", "object", "form", "base", "image", "use"}
    assert not [attributes for _, attributes in document.tags if attributes.keys() & {"style", "src", "onclick"}]
    assert "://" not in markup
    assert "url(" not in markup
    assert len(markup.encode()) < LARGEST_PAGE


def test_a_hostile_name_is_shown_as_what_it_is() -> None:
    """No markup, no change of direction, no invisible character, not all of its twenty thousand characters."""
    document = Document(page(view(hostile())))
    told = "".join(document.texts)
    assert "<script>alert('x')</script>\\u202eevil\\u0000&\"long" in told
    assert "\u202e" not in told
    assert "\x00" not in told
    assert "long" * 30 not in told


def test_markup_escapes_text_and_attributes_but_not_itself() -> None:
    """One helper for both; what is finished is not escaped again."""
    inner = tag("b", "<&>", title='"\u2066')
    assert tag("p", inner, None, ["a", inner], hidden=True, lang=None) == (f"<p hidden>{inner}a{inner}</p>")
    assert inner == '<b title="&quot;\\u2066">&lt;&amp;&gt;</b>'
    assert len(name("x" * 1_000)) == 80
    assert text("x" * 1_000) == "x" * 1_000


def test_the_policy_allows_this_style_sheet_and_nothing_else() -> None:
    """A page that was tampered with loses its looks, and can do nothing."""
    document = Document(page(view(quiet())))
    (policy,) = [found["content"] for kind, found in document.tags if found.get("http-equiv")]
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; base-uri 'none'; form-action 'none'", policy
    )


def test_text_has_enough_contrast_in_light_and_dark() -> None:
    """WCAG 2.2 asks for 4.5 to 1 (https://www.w3.org/TR/WCAG22/#contrast-minimum, checked 2026-11)."""
    style = (resources.files("pipeline.report") / "report.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", scheme))
        pairs = [(ink, card) for ink in ("text", "soft", "link", "bad") for card in ("card", "page")]
        for ink, card in [*pairs, ("good", "good-card"), ("fair", "fair-card"), ("bad", "bad-card")]:
            assert contrast(colours[ink], colours[card]) >= 4.5, (ink, card)


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


async def test_the_last_run_is_reported_and_an_unknown_one_is_a_fault() -> None:
    """From the state alone: its rows, its days, its fields, and the runs before it."""
    harness = Harness(SmallTenant.with_mail(users=2, messages=30))
    state = MemoryStore(harness.state_bucket)
    assert await gather(state) is None
    [first] = await export(harness.equip(), Request(kind=RunKind.RUN))
    harness.now += timedelta(days=1)
    [second] = await export(harness.equip(), Request(kind=RunKind.RUN))

    last, named = await gather(state), await gather(state, first.run_id)
    assert last is not None
    assert named is not None
    assert (last.manifest.run_id, [each.run_id for each in last.earlier]) == (second.run_id, [first.run_id])
    assert (named.manifest.run_id, named.earlier) == (first.run_id, [])
    shown = view(named)
    assert shown.coverage is not None
    assert sum(shown.coverage.rows[0].counts) == 60
    assert {group.fate for group in shown.fields["mail_messages"]} >= {"pseudonymized", "dropped"}
    with pytest.raises(ConfigurationError, match=f"the last one is {second.run_id}"):
        await gather(state, "20200101T000000Z-0000")


def test_a_run_of_an_older_version_has_a_report_too(tmp_path: Path) -> None:
    """Without facts and ledger the page says so instead of showing nothing."""
    bare = replace(quiet(), facts=replace_struct(facts(), attempts=[], datasets={}, waits=[], slowest_units=[]))
    told = "".join(Document(page(view(bare))).texts)
    assert "did not measure times" in told
    assert "kept no field ledger" in told

"""Both engines give the same row, or the same rejection, for any record of any dataset in every profile."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.model import Tile, Window
from pipeline.ports import RowFilter
from pipeline.sanitize.columnar import Cleaned, ColumnarSanitizer
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.record_rules import RecordRules, Rejected
from pipeline.sanitize.rules import PROFILES, DatasetRules, Profile, built_in_rules
from pipeline.sanitize.treatments import Treatments
from tests.unit.wild_records import ODDITIES, WildRecords

TREATMENTS = Treatments(
    Pseudonymizer(salt="engines-salt-0123456789", encryption_key="engines-key"),
    group_original=True,
    holds_person=lambda text: "Ann" in text,
)
WINDOW = Window(datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 2, 10, tzinfo=UTC))
DAY = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
EVENING = Tile(datetime(2026, 3, 2, 20, tzinfo=UTC), DAY.end, DAY)
every_dataset = pytest.mark.parametrize("dataset", sorted(built_in_rules()))
every_profile = pytest.mark.parametrize("profile", PROFILES)


class Engines:
    """The compiled engine and the row engine, with the same rules."""

    def __init__(self, rules: DatasetRules, profile: Profile, instants: tuple[str, ...]) -> None:
        self.columns = ColumnarSanitizer(rules, profile=profile, treatments=TREATMENTS, instants=instants)
        self.records = RecordRules(rules, profile=profile, treatments=TREATMENTS, instants=instants)

    def compiled(self, records: Sequence[bytes], window: Window | None, row_filter: RowFilter | None) -> Cleaned:
        middle = len(records) // 2
        pages = [b"[" + b",".join(part) + b"]" for part in (records[:middle], records[middle:])]
        return self.columns.clean(pages, window=window, row_filter=row_filter)

    def by_row(
        self, records: Sequence[bytes], window: Window | None, row_filter: RowFilter | None
    ) -> tuple[list[Any], Counter[str]]:
        rows: list[Any] = []
        rejected: Counter[str] = Counter()
        for record in records:
            try:
                row = self.records.row(record, window=window, row_filter=row_filter)
            except Rejected as rejection:
                rejected[rejection.reason] += 1
                continue
            rows += [] if row is None else [row]
        return rows, rejected


def engines(dataset: str, profile: Profile) -> Engines:
    rules = built_in_rules()[dataset]
    modified = [rule.path for rule in rules.fields if rule.path == "lastModifiedDateTime" != rules.time]
    return Engines(rules, profile, (rules.time, *modified) if rules.time is not None else ())


@every_dataset
@every_profile
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    random=st.randoms(use_true_random=False),
    window=st.sampled_from([None, WINDOW, EVENING]),
    filtered=st.booleans(),
)
def test_both_engines_agree(
    dataset: str, profile: Profile, random: Random, window: Window | None, filtered: bool
) -> None:
    """Rows and rejections are the same, whatever stands beside a record in its page."""
    both = engines(dataset, profile)
    wild = WildRecords(built_in_rules()[dataset], random)
    records = [wild.wild() for _ in range(random.randint(1, 12))]
    row_filter = (
        RowFilter("chatId", lambda text: "19" in text) if filtered and dataset == "teams_chat_messages" else None
    )

    cleaned = both.compiled(records, window, row_filter)
    rows, rejected = both.by_row(records, window, row_filter)

    assert cleaned.rows.to_pylist() == rows
    assert cleaned.rejected == rejected


def test_every_oddity_occurs_and_so_does_every_end() -> None:
    """What the property above is shown on: each oddity in both engines, each reason, each dataset."""
    occurred: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    rows = refused = 0
    for dataset, rules in built_in_rules().items():
        both = engines(dataset, "psoxy")
        wild = WildRecords(rules, Random(dataset))
        records = [wild.wild() for _ in range(400)]
        occurred += wild.occurred
        found, reasons = both.by_row(records, None, None)
        rows += len(found)
        rejected += reasons
        refused += sum(_is_refused(both.columns, record) for record in records)

    assert set(occurred) == set(ODDITIES)
    assert min(occurred.values()) > 5
    assert set(rejected) == {"wrong_type", "not_an_object", "missing_key", "not_json"}
    assert min(rejected.values()) > 20
    assert rows > 2 * rejected.total()  # the compiled engine is really at work
    assert refused > rejected.total() / 2


def _is_refused(engine: ColumnarSanitizer, record: bytes) -> bool:
    """Whether Arrow leaves the record to the row engine."""
    try:
        engine._clean_pages([b"[" + record + b"]"], None, None)
    except pa.ArrowInvalid:
        return True
    return False


@every_dataset
@every_profile
def test_ordinary_records_never_leave_the_compiled_engine(
    dataset: str, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No dataset falls back, in any profile: what Graph documents is read column by column."""

    def refuse(*_: object) -> Cleaned:
        raise AssertionError("a page fell back")

    both = engines(dataset, profile)
    monkeypatch.setattr(both.columns, "_clean_isolating", refuse)
    ordinary = WildRecords(built_in_rules()[dataset], Random(f"{dataset} {profile}"))

    cleaned = both.compiled([ordinary.ordinary() for _ in range(200)], None, None)

    assert len(cleaned.rows) == 200


def test_a_bad_record_costs_itself_alone() -> None:
    """Among a thousand good records the bad ones are told one by one; of the good ones none is lost."""
    both = engines("mail_messages", "strict")
    records = [b'{"id":"%d","subject":"\\ud800"}' % number for number in range(1000)]
    records[17] = b'{"id":17}'
    records[500] = b'{"id":"x","isRead":"yes"}'
    cleaned = both.columns.clean([b"[" + b",".join(records) + b"]"])

    assert len(cleaned.rows) == 998
    assert cleaned.rejected == {"wrong_type": 2}


def test_nesting_and_size_are_bounded_where_records_are_read_one_by_one() -> None:
    """Deep nesting that nothing reads costs nothing, unless the record is one the compiled engine refuses."""
    both = engines("mail_messages", "strict")
    deep = b"[" * 50_000 + b"]" * 50_000
    good = b'{"id":"a","other":' + deep + b"}"
    bad = b'{"id":"b","isRead":' + deep + b"}"

    cleaned = both.columns.clean([b"[" + b",".join([good, bad, b'{"id":"c"}']) + b"]"])

    assert len(cleaned.rows) == 2
    assert cleaned.rejected == {"too_deep": 1}


def test_a_record_too_large_to_be_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything of it is decoded."""
    monkeypatch.setattr("pipeline.sanitize.record_rules.MAX_RECORD_BYTES", 100)

    with pytest.raises(Rejected, match="too_large"):
        engines("mail_messages", "strict").records.row(b'{"id":"' + b"a" * 100 + b'"}')

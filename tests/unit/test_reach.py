"""How far a run has read whose data."""

import hashlib
import tracemalloc
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.completeness import Finding, Method
from pipeline.done import DoneUnit
from pipeline.model import Window
from pipeline.reach import Bounds, FinishedWindows
from pipeline.seal import next_watermarks

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MISSING = Finding(method=Method.COUNT, expected=2, changed_while_reading=0, unexplained=1)

_units = st.tuples(
    st.sampled_from(["mail_messages", "teams_chats"]),
    st.builds(
        lambda principal, hour, finding: DoneUnit(
            principal, START + hour * HOUR if hour else None, START + (hour + 1) * HOUR if hour else None, 1, finding
        ),
        st.text("tab~ é", max_size=4),
        st.integers(0, 3),
        st.sampled_from([None, MISSING]),
    ),
)


@given(st.lists(_units), st.sets(st.tuples(st.just("teams_chats"), st.text("tab~ é", max_size=4))))
def test_every_window_is_found_where_it_belongs(
    done: list[tuple[str, DoneUnit]], given_up: set[tuple[str, str]]
) -> None:
    """In whatever order units ended: principals in order, their datasets in order, finished windows and no others."""
    expected: dict[str, dict[str, list[Window]]] = {}
    for dataset, unit in done:
        if unit.window is not None:
            windows = expected.setdefault(unit.principal, {}).setdefault(dataset, [])
            if not unit.unexplained or (dataset, unit.principal) in given_up:
                windows.append(unit.window)

    finished = FinishedWindows(done, given_up=given_up)

    found = [(principal, [(dataset, list(each)) for dataset, each in by.items()]) for principal, by in finished]
    assert found == [
        (principal, [(dataset, sorted(by[dataset])) for dataset in sorted(by)])
        for principal, by in sorted(expected.items())
    ]
    for principal, by in expected.items():
        assert {dataset: list(finished.of(dataset, principal)) for dataset in by} == dict(dict(found)[principal])
    assert finished.of("mail_messages", "nobody") == ()


def test_what_was_finished_of_a_large_tenant_takes_little_memory() -> None:
    """It is there while a run is sealed: 60 bytes for a principal, and not much more while it is put in order."""
    principals = ["t~" + hashlib.sha256(b"%d" % number).hexdigest()[:43] for number in range(20_000)]
    tracemalloc.start()

    finished = FinishedWindows(
        (dataset, DoneUnit(principal, START, START + HOUR, 1)) for principal in principals for dataset in "ab"
    )

    taken, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(list(finished)) == len(principals)
    assert taken < 60 * len(principals)
    assert most < 150 * len(principals)


def test_a_dataset_that_is_not_read_any_more_moves_no_watermark() -> None:
    """An attempt before an upgrade may have read it."""
    done = [(dataset, DoneUnit("t~a", START, START + HOUR, 1)) for dataset in ("gone", "mail_messages")]
    bounds = Bounds(
        origins={"mail_messages": START}, overlaps={"mail_messages": HOUR}, ends={"mail_messages": START + HOUR}
    )
    moves = list(next_watermarks(FinishedWindows(done), {}, bounds))
    assert moves == [(("mail_messages", "t~a"), START + HOUR)]

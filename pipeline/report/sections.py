"""The sections of the page, each a heading, a sentence on how to read it, and a table or drawing."""

from collections.abc import Iterable
from datetime import date

from config.instants import format_instant
from pipeline.manifest import Completeness
from pipeline.report.coverage import Coverage, CoverageRow
from pipeline.report.markup import Html, join, name, tag
from pipeline.report.svg import bars, spans
from pipeline.report.tables import scrolled, table
from pipeline.report.trend import FALL_SHARE, Trend
from pipeline.report.view import FieldGroup, Lane, ReasonGroup, Report
from pipeline.report.words import METHODS, count, cut, duration, instant, reason_text, several, size

FATE_WORDS = {
    "kept": "leave as they are",
    "filtered": "leave in part",
    "pseudonymized": "leave as pseudonyms",
    "dropped": "stay behind",
}


def summary(report: Report) -> Html:
    """The numbers somebody asks for first."""
    figures = [
        (f"{report.rows:,}", "rows"),
        (f"{sum(line.rows > 0 for line in report.datasets.values())} of {len(report.datasets)}", "datasets with rows"),
        (size(report.bytes), f"in {count(report.parts, 'part')}"),
        (duration(report.seconds), "from start to seal"),
        (f"{report.left_out:,}", "units left out as expected"),
        (f"{len(report.manifest.failed):,}", "failed or incomplete"),
    ]
    return tag("dl", [tag("div", tag("dt", label), tag("dd", value)) for value, label in figures], class_="figures")


def falls(report: Report) -> Html:
    """Called out above everything else, where there are any."""
    return join([*(tag("p", note, class_="notice") for note in report.notes), *map(_fall, report.falls)])


def what_was_written(report: Report) -> Html:
    rows = [
        (
            name(dataset),
            f"{line.rows:,}",
            f"{len(line.parts):,}",
            size(sum(part.bytes for part in line.parts)),
            f"{line.units.done:,}",
            f"{line.units.skipped:,}",
            f"{line.units.failed:,}",
            _rejected(line.rejected),
        )
        for dataset, line in report.datasets.items()
    ]
    headings = ("dataset", "rows", "parts", "size", "units done", "skipped", "failed", "rejected records")
    return table("Rows and units of each dataset", headings, rows, numbers=headings[1:-1])


def completeness(report: Report) -> Html:
    rows = [
        (name(dataset), *_completeness(line.completeness)) for dataset, line in report.datasets.items() if line.rows
    ]
    return join(
        [
            _lead("What was read is held against a number that was known beforehand, where there is one."),
            table(
                "How it is known that nothing is missing",
                ("dataset", "how the number is known", "expected", "exported", "changed meanwhile", "unexplained"),
                rows,
                numbers=("expected", "exported", "changed meanwhile", "unexplained"),
            ),
        ]
    )


def days(report: Report) -> Html:
    """The heat map: a table, so that whoever cannot see the colours hears the numbers."""
    undated = several([f"{cut(dataset)} ({rows:,} rows)" for dataset, rows in report.undated.items()], shown=20)
    without = _lead(f"Without a time: {undated}.") if report.undated else None
    found = report.coverage
    if found is None:
        return join([_lead("No rows with a time in this run."), without])
    headings = [tag("th", _column_heading(found, index), scope="col") for index in range(len(found.columns))]
    rows = [
        tag(
            "tr",
            tag("th", name(row.dataset), scope="row"),
            _heat(found, row),
            tag("td", f"{row.earlier:,}", class_="n"),
        )
        for row in found.rows
    ]
    map_ = tag(
        "table",
        tag("caption", f"Rows by dataset and {found.step}"),
        tag(
            "thead",
            tag("tr", tag("th", "dataset", scope="col"), headings, tag("th", "earlier", scope="col", class_="n")),
        ),
        tag("tbody", rows),
        class_="heat",
    )
    return join(
        [
            _lead(
                f"One square is one {found.step} (UTC); the darker, the nearer to the dataset's own highest. "
                "An empty square has no rows."
            ),
            scrolled(map_, label=f"Rows by dataset and {found.step}"),
            without,
        ]
    )


def weeks(report: Report) -> Html:
    """Rows against the last weeks."""
    rows = [
        (name(trend.dataset), bars(trend), f"{trend.rows:,}", _usual(trend), _judgement(trend))
        for trend in report.trends
        if any(point.rows for point in trend.points)
    ]
    runs = max((len(trend.points) for trend in report.trends), default=1) - 1
    if not runs:
        return _lead("There is no earlier run over a window about as long to compare with.")
    return join(
        [
            _lead(
                f"Against {count(runs, 'earlier run')} over a window about as long. Usual is the median of those that "
                f"ended on the same weekday; fewer than {FALL_SHARE:.0%} of it is called a sudden fall."
            ),
            table(
                "This run against the runs before",
                ("dataset", "runs, this one last", "rows", "usual", "verdict"),
                rows,
                numbers=("rows", "usual"),
            ),
        ]
    )


def throttling(report: Report) -> Html:
    """Who waited for what."""
    if not report.lanes:
        return _lead("Microsoft held nobody off for as long as this run was measured.")
    start, end = report.span
    rows = [
        (_scope(lane), spans(lane, within=report.span), duration(lane.seconds), f"{len(lane.waits):,}", _refusals(lane))
        for lane in report.lanes
    ]
    more = [
        count(report.lanes_left_out, "more scope") if report.lanes_left_out else "",
        count(report.waits_left_out, "shorter wait") if report.waits_left_out else "",
    ]
    return join(
        [
            _lead(
                f"From {instant(start)} to {instant(end)}. "
                "While a bar lasts nobody calls in that scope, because Microsoft asked for it; everything else goes on."
            ),
            table(
                "Who waited for what",
                ("scope", "when", "waited", "waits", "refusals"),
                rows,
                numbers=("waited", "waits", "refusals"),
            ),
            _lead(f"Not shown: {' and '.join(filter(None, more))}.") if any(more) else None,
        ]
    )


def slow_units(report: Report) -> Html:
    stages = table(
        "Stages",
        ("stage", "took"),
        [(stage.stage, duration(stage.seconds)) for stage in report.stages],
        numbers=("took",),
        narrow=True,
    )
    units = table(
        "Slowest units, waits included",
        ("dataset", "principal", "took", "rows", "end"),
        [
            (name(unit.dataset), tag("code", name(unit.principal)), duration(unit.seconds), f"{unit.rows:,}", unit.end)
            for unit in report.slowest
        ],
        numbers=("took", "rows"),
    )
    attempts = f"The run took {report.attempts} attempts; all are counted." if report.attempts > 1 else None
    nothing = _lead("This run was sealed by a version that did not measure times.") if not report.attempts else None
    return join(
        [
            nothing,
            _lead(attempts) if attempts else None,
            stages if report.stages else None,
            units if report.slowest else None,
        ]
    )


def left_out(groups: Iterable[ReasonGroup], *, nothing: str) -> Html:
    """Skips or failures by reason, with the first few pseudonyms of each."""
    found = [_reason(group) for group in groups]
    return join(found) if found else _lead(nothing)


def ledger(report: Report) -> Html:
    """What left, and in which form."""
    if not report.fields:
        return _lead("This run was sealed by a version that kept no field ledger.")
    return join(
        [
            _lead(
                "Every field the rules know or a scan has met. Numbers of what left are exact; those of what stayed "
                "behind are of the pages that were scanned."
            ),
            *(_dataset_fields(dataset, groups) for dataset, groups in report.fields.items()),
        ]
    )


def manifest_facts(report: Report) -> Html:
    manifest = report.manifest
    facts = [
        ("run", manifest.run_id),
        ("kind", manifest.kind),
        ("status", f"{manifest.status} (exit {report.ending.code.value})"),
        ("window", f"{format_instant(manifest.window.from_)} to {format_instant(manifest.window.to)}, end exclusive"),
        ("started", format_instant(manifest.started_at)),
        ("finished", format_instant(manifest.finished_at)),
        ("manifest", f"_manifests/{manifest.run_id}.json"),
        ("version", manifest.tool_version),
        ("profile", manifest.profile),
        ("rules", manifest.rules_fingerprint),
        ("salt", manifest.salt_fingerprint),
        ("schemas", ", ".join(f"{cut(dataset)} {version}" for dataset, version in manifest.schema_versions.items())),
    ]
    return tag("dl", [tag("div", tag("dt", key), tag("dd", value)) for key, value in facts], class_="facts")


def _fall(trend: Trend) -> Html:
    return tag(
        "p",
        tag("strong", "Sudden fall: "),
        name(trend.dataset),
        f" has {trend.rows:,} rows where about {trend.usual:,} are usual. ",
        "A holiday looks like this; so does a lost permission.",
        class_="notice bad",
    )


def _lead(sentence: str) -> Html:
    return tag("p", sentence, class_="lead")


def _rejected(reasons: dict[str, int]) -> str:
    return ", ".join(f"{cut(reason)} {number:,}" for reason, number in sorted(reasons.items()) if number) or "0"


def _completeness(found: Completeness) -> tuple[object, ...]:
    expected = "" if found.expected is None else f"{found.expected:,}"
    unexplained: object = f"{found.unexplained:,}"
    if found.unexplained:
        unexplained = tag("strong", unexplained, class_="bad")
    return METHODS[found.method], expected, f"{found.exported:,}", f"{found.changed_while_reading:,}", unexplained


def _column_heading(found: Coverage, index: int) -> Html:
    day = found.columns[index]
    before = found.columns[index - 1] if index else None
    shown = (
        f"{day:%b}" if before is None or before.month != day.month else ("" if found.step == "month" else f"{day:%d}")
    )
    return join([tag("span", shown, aria_hidden="true"), tag("span", day.isoformat(), class_="unseen")])


def _heat(found: Coverage, row: CoverageRow) -> list[Html]:
    return [
        tag(
            "td",
            tag("span", f"{row.counts[index]:,}", class_="unseen"),
            class_=f"l{row.level(index)}",
            title=f"{_period(found, column)}: {row.counts[index]:,} rows",
        )
        for index, column in enumerate(found.columns)
    ]


def _period(found: Coverage, column: date) -> str:
    return {"day": f"{column:%a} {column}", "week": f"week of {column}", "month": f"{column:%Y-%m}"}[found.step]


def _usual(trend: Trend) -> str:
    return "" if trend.usual is None else f"{trend.usual:,}"


def _judgement(trend: Trend) -> Html | str:
    if trend.usual is None:
        return "no comparison"
    return tag("strong", "sudden fall", class_="bad") if trend.has_fallen else "as usual"


def _scope(lane: Lane) -> Html:
    match lane.scope:
        case "app":
            return join("the whole application")
        case "service":
            return name(f"{lane.service}, everybody")
        case _:
            return join([name(f"{lane.service}, one {lane.scope} "), tag("code", name(lane.principal or ""))])


def _refusals(lane: Lane) -> str:
    return f"{sum(wait.refusals for wait in lane.waits):,}"


def _reason(group: ReasonGroup) -> Html:
    principals = len(group.principals) + group.more
    number = count(principals, "principal") if principals else "whole datasets"
    rows = [(name(dataset), f"{found:,}" if found else "all") for dataset, found in group.datasets.items()]
    listed = join(
        [
            tag("p", "First of them, as the manifest names them:", class_="lead"),
            tag("ul", [tag("li", tag("code", name(principal))) for principal in group.principals], class_="names"),
            tag("p", f"{group.more:,} more stand in the manifest.", class_="lead") if group.more else None,
        ]
    )
    meaning = reason_text(group.reason)
    return tag(
        "details",
        tag("summary", tag("strong", name(group.reason)), f" · {number}", f" · {meaning}" if meaning else ""),
        table(f"{cut(group.reason)} by dataset", ("dataset", "principals"), rows, numbers=("principals",)),
        listed if group.principals else None,
    )


def _dataset_fields(dataset: str, groups: list[FieldGroup]) -> Html:
    told = ", ".join(f"{len(group.fields) + group.more} {FATE_WORDS.get(group.fate, group.fate)}" for group in groups)
    return tag(
        "details",
        tag("summary", tag("strong", name(dataset)), f" · {told}"),
        [_fate(group) for group in groups],
    )


def _fate(group: FieldGroup) -> Html:
    rows = [(tag("code", name(line.path)), name(line.rule), f"{line.non_null:,}") for line in group.fields]
    caption = f"Fields that {FATE_WORDS.get(group.fate, group.fate)}"
    more = _lead(f"{group.more:,} more stand in the side file.") if group.more else None
    return join([table(caption, ("field", "rule", "values"), rows, numbers=("values",)), more])

"""The SQL that turns rows of many runs into what there is now: a view for each dataset, in DuckDB's dialect.

Within a key the row of the latest run counts. Where absence means deletion, a later run is evidence against a row if it
read the time of the row, and the data of its owner, without failing: that is what `runs.sql` gathers from the
manifests.
"""

from datetime import timedelta
from string import Template

from pipeline.guide.semantics import SERVED_FOR, Deletion, Semantics
from pipeline.model import PrincipalKind

RUNS = """\
-- One row for each sealed run and dataset of which it read anything, with who was left out.
-- Before any of these files:  SET VARIABLE export = '<destination>';
CREATE OR REPLACE VIEW export_runs AS
WITH manifests AS (
    SELECT * FROM read_json(
        getvariable('export') || '/_manifests/*Z-????.json',
        columns = {
            run_id: 'VARCHAR', kind: 'VARCHAR', "window": 'STRUCT("from" TIMESTAMPTZ, "to" TIMESTAMPTZ)',
            started_at: 'TIMESTAMPTZ', datasets: 'JSON',
            skipped: 'STRUCT(principal VARCHAR, dataset VARCHAR, reason VARCHAR)[]',
            failed: 'STRUCT(principal VARCHAR, dataset VARCHAR, reason VARCHAR)[]'
        }
    )
    -- A run asked to end in the past (--until) may begin later than its overlap says.
    QUALIFY kind = 'backfill'
        OR "window"."to" >= max("window"."to") FILTER (WHERE kind = 'run') OVER (ORDER BY run_id)
),
lines AS (SELECT *, unnest(json_keys(datasets)) AS dataset FROM manifests)
SELECT
    run_id, kind, dataset, started_at, "window"."from" AS starts, "window"."to" AS ends,
    [line.principal FOR line IN skipped IF line.dataset = lines.dataset] AS skipped,
    [coalesce(line.principal, 'everybody') FOR line IN failed IF line.dataset = lines.dataset] AS failed
FROM lines
WHERE (datasets -> dataset -> 'units' ->> 'done')::BIGINT > 0;
"""


_NEWEST = Template(
    """\
-- $dataset: the newest row of each record.
CREATE OR REPLACE VIEW current_$dataset AS
SELECT * FROM read_parquet(getvariable('export') || '/$dataset/*/*.parquet', union_by_name = true)
QUALIFY row_number() OVER (PARTITION BY $keys ORDER BY _run_id DESC) = 1;
"""
)
_NEWEST_UNLESS_GONE = Template(
    """\
-- $dataset: the newest row of each record, unless a later run should have found it and did not.
-- Needs runs.sql.$windows
CREATE OR REPLACE VIEW current_$dataset AS
WITH newest AS (
    SELECT * FROM read_parquet(getvariable('export') || '/$dataset/*/*.parquet', union_by_name = true)
    QUALIFY row_number() OVER (PARTITION BY $keys ORDER BY _run_id DESC) = 1
)
SELECT * FROM newest
WHERE NOT EXISTS (
    SELECT 1 FROM $later AS later
    WHERE later.dataset = '$dataset'
        AND later.run_id > newest._run_id
        AND $evidence
);
"""
)
_RUNS_WITH_TIME_READ = Template(
    """\
(
        SELECT *, $until AS read_until,
            $start AS read_from
        FROM export_runs
    )"""
)
# A manifest names principals as profile strict names owners. Where ids are readable the two do not join: then no unit
# may have failed, and a mailbox, which may have been skipped, counts as read only if the run has a row of it.
_READ_BY = Template(
    """\
CASE WHEN $owner LIKE 't~%'
            THEN NOT list_has_any(later.failed || later.skipped, [$owner, 'everybody'])
            ELSE len(later.failed) = 0$has_rows
        END"""
)
_HAS_ROWS = Template(
    """ AND (later.run_id, $owner) IN (
                SELECT (_run_id, _owner)
                FROM read_parquet(getvariable('export') || '/$dataset/*/*.parquet', union_by_name = true)
            )"""
)
_IN_DIRECTORY = Template(
    """\
(later.run_id, $owner) IN (
            SELECT (_run_id, id)
            FROM read_parquet(getvariable('export') || '/entra_users/*/*.parquet', union_by_name = true)
        )"""
)


def current_state(semantics: Semantics) -> str:
    """A file that creates the view `current_<dataset>`."""
    keys = ", ".join(sql_path(path) for path in semantics.rules.key)
    evidence = _evidence(semantics)
    if not evidence:
        return _NEWEST.substitute(dataset=semantics.dataset, keys=keys)
    return _NEWEST_UNLESS_GONE.substitute(
        dataset=semantics.dataset,
        keys=keys,
        windows=_windows(semantics),
        later=_later(semantics),
        evidence="\n        AND ".join(evidence),
    )


def sql_path(path: str) -> str:
    """A column, or a property inside one."""
    return ".".join(name if name.islower() else f'"{name}"' for name in path.split("."))


def _evidence(semantics: Semantics) -> list[str]:
    """When a later run proves that a record it does not have is gone; empty where no run ever does."""
    match semantics.deletion:
        case Deletion.BY_ABSENCE:
            return _read_its_owner(semantics)
        case Deletion.BY_ABSENCE_IN_OVERLAP:
            return [*_read_its_time(semantics), *_read_its_owner(semantics)]
        case Deletion.BY_ABSENCE_IN_BACKFILL:
            created = f"newest.{sql_path(semantics.source.instants[0])}"
            return ["later.kind = 'backfill'", f"{created} < later.ends", *_read_its_owner(semantics)]
    return []


def _later(semantics: Semantics) -> str:
    """The runs, with how much of its time each has read for certain where that matters."""
    source = semantics.source
    if semantics.deletion is not Deletion.BY_ABSENCE_IN_OVERLAP:
        return "export_runs"
    until = f"least(ends, started_at - {_interval(source.settle)})" if source.settle else "ends"
    start = f"CASE kind WHEN 'run' THEN greatest(starts, read_until - {_interval(source.overlap)}) ELSE starts END"
    if (served := SERVED_FOR.get(semantics.dataset)) is not None:
        start = f"greatest({start},\n                started_at - {_interval(served)})"
    return _RUNS_WITH_TIME_READ.substitute(until=until, start=start)


def _read_its_time(semantics: Semantics) -> list[str]:
    time = f"newest.{sql_path(semantics.rules.time or '')}"
    return [f"{time} >= later.read_from AND {time} < later.read_until"]


def _read_its_owner(semantics: Semantics) -> list[str]:
    """Nothing of it failed or was left out."""
    owner = _owner(semantics)
    if owner is None:
        return ["len(later.failed) = 0"]
    is_mailbox = semantics.rules.owner == "mailbox"
    has_rows = _HAS_ROWS.substitute(owner=owner, dataset=semantics.dataset) if is_mailbox else ""
    conditions = [_READ_BY.substitute(owner=owner, has_rows=has_rows)]
    if is_mailbox and semantics.deletion is not Deletion.BY_ABSENCE:
        conditions.append(_IN_DIRECTORY.substitute(owner=owner))
    return conditions


def _owner(semantics: Semantics) -> str | None:
    """The column that names the principal a row was read from."""
    if semantics.rules.owner is not None:
        return "newest._owner"
    return "newest.id" if semantics.source.principals is PrincipalKind.TEAM else None


def _windows(semantics: Semantics) -> str:
    source = semantics.source
    spans = [f"overlap {_days(source.overlap)}" if source.overlap else "", _settling(source.settle)]
    said = ", ".join(span for span in spans if span)
    return f" Windows as by default: {said}." if said else ""


def _settling(settle: timedelta) -> str:
    return f"settle {_days(settle)}" if settle else ""


def _days(span: timedelta) -> str:
    return f"{span.days} day{'s' if span.days != 1 else ''}"


def _interval(span: timedelta) -> str:
    return f"INTERVAL {span.days} DAY"

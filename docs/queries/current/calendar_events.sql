-- calendar_events: the newest row of each record, unless a later run should have found it and did not.
-- Needs runs.sql. Windows as by default: overlap 7 days.
CREATE OR REPLACE VIEW current_calendar_events AS
WITH newest AS (
    SELECT * FROM read_parquet(getvariable('export') || '/calendar_events/*/*.parquet', union_by_name = true)
    QUALIFY row_number() OVER (PARTITION BY _owner, id ORDER BY _run_id DESC) = 1
)
SELECT * FROM newest
WHERE NOT EXISTS (
    SELECT 1 FROM (
        SELECT *, ends AS read_until,
            CASE kind WHEN 'run' THEN greatest(starts, read_until - INTERVAL 7 DAY) ELSE starts END AS read_from
        FROM export_runs
    ) AS later
    WHERE later.dataset = 'calendar_events'
        AND later.run_id > newest._run_id
        AND newest.start."dateTime" >= later.read_from AND newest.start."dateTime" < later.read_until
        AND CASE WHEN newest._owner LIKE 't~%'
            THEN NOT list_has_any(later.failed || later.skipped, [newest._owner, 'everybody'])
            ELSE len(later.failed) = 0 AND (later.run_id, newest._owner) IN (
                SELECT (_run_id, _owner)
                FROM read_parquet(getvariable('export') || '/calendar_events/*/*.parquet', union_by_name = true)
            )
        END
        AND (later.run_id, newest._owner) IN (
            SELECT (_run_id, id)
            FROM read_parquet(getvariable('export') || '/entra_users/*/*.parquet', union_by_name = true)
        )
);

-- teams_pstn_calls: the newest row of each record, unless a later run should have found it and did not.
-- Needs runs.sql. Windows as by default: overlap 5 days, settle 1 day.
CREATE OR REPLACE VIEW current_teams_pstn_calls AS
WITH newest AS (
    SELECT * FROM read_parquet(getvariable('export') || '/teams_pstn_calls/*/*.parquet', union_by_name = true)
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY _run_id DESC) = 1
)
SELECT * FROM newest
WHERE NOT EXISTS (
    SELECT 1 FROM (
        SELECT *, least(ends, started_at - INTERVAL 1 DAY) AS read_until,
            greatest(CASE kind WHEN 'run' THEN greatest(starts, read_until - INTERVAL 5 DAY) ELSE starts END,
                started_at - INTERVAL 30 DAY) AS read_from
        FROM export_runs
    ) AS later
    WHERE later.dataset = 'teams_pstn_calls'
        AND later.run_id > newest._run_id
        AND newest."startDateTime" >= later.read_from AND newest."startDateTime" < later.read_until
        AND len(later.failed) = 0
);

-- teams_teams: the newest row of each record, unless a later run should have found it and did not.
-- Needs runs.sql.
CREATE OR REPLACE VIEW current_teams_teams AS
WITH newest AS (
    SELECT * FROM read_parquet(getvariable('export') || '/teams_teams/*/*.parquet', union_by_name = true)
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY _run_id DESC) = 1
)
SELECT * FROM newest
WHERE NOT EXISTS (
    SELECT 1 FROM export_runs AS later
    WHERE later.dataset = 'teams_teams'
        AND later.run_id > newest._run_id
        AND CASE WHEN newest.id LIKE 't~%'
            THEN NOT list_has_any(later.failed || later.skipped, [newest.id, 'everybody'])
            ELSE len(later.failed) = 0
        END
);

-- entra_users: the newest row of each record, unless a later run should have found it and did not.
-- Needs runs.sql.
CREATE OR REPLACE VIEW current_entra_users AS
WITH newest AS (
    SELECT * FROM read_parquet(getvariable('export') || '/entra_users/*/*.parquet', union_by_name = true)
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY _run_id DESC) = 1
)
SELECT * FROM newest
WHERE NOT EXISTS (
    SELECT 1 FROM export_runs AS later
    WHERE later.dataset = 'entra_users'
        AND later.run_id > newest._run_id
        AND len(later.failed) = 0
);

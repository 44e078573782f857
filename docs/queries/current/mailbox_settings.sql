-- mailbox_settings: the newest row of each record, unless a later run should have found it and did not.
-- Needs runs.sql.
CREATE OR REPLACE VIEW current_mailbox_settings AS
WITH newest AS (
    SELECT * FROM read_parquet(getvariable('export') || '/mailbox_settings/*/*.parquet', union_by_name = true)
    QUALIFY row_number() OVER (PARTITION BY _owner ORDER BY _run_id DESC) = 1
)
SELECT * FROM newest
WHERE NOT EXISTS (
    SELECT 1 FROM export_runs AS later
    WHERE later.dataset = 'mailbox_settings'
        AND later.run_id > newest._run_id
        AND CASE WHEN newest._owner LIKE 't~%'
            THEN NOT list_has_any(later.failed || later.skipped, [newest._owner, 'everybody'])
            ELSE len(later.failed) = 0 AND (later.run_id, newest._owner) IN (
                SELECT (_run_id, _owner)
                FROM read_parquet(getvariable('export') || '/mailbox_settings/*/*.parquet', union_by_name = true)
            )
        END
);

-- teams_online_meetings: the newest row of each record.
CREATE OR REPLACE VIEW current_teams_online_meetings AS
SELECT * FROM read_parquet(getvariable('export') || '/teams_online_meetings/*/*.parquet', union_by_name = true)
QUALIFY row_number() OVER (PARTITION BY id ORDER BY _run_id DESC) = 1;

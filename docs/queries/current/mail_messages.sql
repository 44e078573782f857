-- mail_messages: the newest row of each record.
CREATE OR REPLACE VIEW current_mail_messages AS
SELECT * FROM read_parquet(getvariable('export') || '/mail_messages/*/*.parquet', union_by_name = true)
QUALIFY row_number() OVER (PARTITION BY _owner, id ORDER BY _run_id DESC) = 1;

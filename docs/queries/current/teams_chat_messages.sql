-- teams_chat_messages: the newest row of each record.
CREATE OR REPLACE VIEW current_teams_chat_messages AS
SELECT * FROM read_parquet(getvariable('export') || '/teams_chat_messages/*/*.parquet', union_by_name = true)
QUALIFY row_number() OVER (PARTITION BY "chatId", id ORDER BY _run_id DESC) = 1;

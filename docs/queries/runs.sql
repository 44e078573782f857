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

-- How many hours of a week each person has in stretches of two hours or more without a meeting, from 8 to 17 o'clock UTC on
-- weekdays; for people elsewhere take the hours and the zone from mailbox_settings.
-- Needs the views of runs.sql and current/: calendar_events, mailbox_settings.
WITH busy AS (
    SELECT _owner, start."dateTime" AT TIME ZONE 'UTC' AS begins, "end"."dateTime" AT TIME ZONE 'UTC' AS ends
    FROM current_calendar_events
    WHERE NOT "isCancelled" AND "showAs" <> 'free' AND "responseStatus".response <> 'declined'
),
days AS (
    SELECT _owner, day::DATE AS day, day + INTERVAL 8 HOUR AS opens, day + INTERVAL 17 HOUR AS closes
    FROM (
        SELECT unnest(range(min(begins)::DATE::TIMESTAMP, max(begins)::DATE::TIMESTAMP, INTERVAL 1 DAY)) AS day FROM busy
    )
    CROSS JOIN current_mailbox_settings
    WHERE isodow(day) <= 5 AND "userPurpose" = 'user'
),
edges AS (  -- the meetings of each day, and its end
    SELECT days._owner, day, opens, greatest(begins, opens) AS begins, least(ends, closes) AS ends
    FROM days JOIN busy ON busy._owner = days._owner AND begins < closes AND ends > opens
    UNION ALL
    SELECT _owner, day, opens, closes, closes FROM days
),
gaps AS (
    SELECT
        _owner, day,
        begins - greatest(opens, coalesce(max(ends) OVER earlier, opens)) AS gap
    FROM edges
    WINDOW earlier AS (
        PARTITION BY _owner, day ORDER BY begins, ends ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
)
SELECT
    _owner,
    date_trunc('week', day)::DATE AS week,
    coalesce(sum(epoch(gap)) FILTER (WHERE gap >= INTERVAL 2 HOUR), 0) / 3600 AS focus_hours
FROM gaps
GROUP BY _owner, week
ORDER BY _owner, week;

-- How much time the members of each group spend in meetings, week by week (Monday, UTC).
-- Needs the views of runs.sql and current/: calendar_events, entra_group_members.
SELECT
    member._owner AS group_id,
    date_trunc('week', event.start."dateTime" AT TIME ZONE 'UTC')::DATE AS week,
    count(DISTINCT event._owner) AS people,
    count(DISTINCT (event."iCalUId", event.start."dateTime")) AS meetings,
    sum(epoch(event."end"."dateTime") - epoch(event.start."dateTime")) / 3600 AS person_hours
FROM current_calendar_events AS event
JOIN current_entra_group_members AS member ON member.id = event._owner
WHERE len(event.attendees) > 0
    AND NOT event."isCancelled"
    AND NOT event."isAllDay"
    AND event."showAs" <> 'free'
    AND event."responseStatus".response <> 'declined'
GROUP BY group_id, week
ORDER BY group_id, week;

"""The page that describes every dataset, as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from pipeline.guide.queries import RUNS, current_state
from pipeline.guide.semantics import Deletion, Semantics
from pipeline.rules_report import MEANINGS
from pipeline.sanitize.columns import output_types
from pipeline.sanitize.rules import PROFILES, FieldRule, FieldType
from sinks.parquet.schema import METADATA_FIELDS, METADATA_MEANINGS

_TYPES = {"timestamp[us, tz=UTC]": "timestamp", "bool": "boolean", "date32[day]": "date"}
_NOTES: Mapping[FieldType, str] = {
    "enum": "one of a list",
    "guid": "GUID",
    "time-of-day": "time of day",
    "duration": "ISO 8601 duration",
}
_MEANINGS = {
    **MEANINGS,
    "group-address": "a group's own address: its hash with domain and, by `privacy.group_original`, itself, in JSON",
}

INTRODUCTION = """\
# Datasets

What each column holds, where it comes from, and what becomes of it in each privacy profile; and how to get from the
rows of many nights to what there is now. This page and the files in [queries/current](queries/current) are written by
`make docs` from the rules and the connectors, and a test holds them to it.

"""

COMMON = """\
## What all datasets have in common

Columns have the names Microsoft Graph gives its properties. In the layout `nested` a column is a struct or a list where
Graph's property is one: the tables below write `toRecipients[].emailAddress.address` for the address in each recipient.
Instants are UTC with microseconds. Every dataset has one schema in all profiles: what a profile drops is null.
Null otherwise means that Graph gave no value.

Every row also has:

"""

PSEUDONYMS = """\
A pseudonym reads `t~` and 43 characters; that of an address has the address's domain behind it
(`t~Kd…w@example.com`), unless `privacy.email_domains` says otherwise. With an encryption key some ids are `p~` and a
longer text, which its holder can turn back. The same person, address or id has the same pseudonym in every dataset, so
they join: by id (`entra_users.id`, `_owner`, the ids inside chats and calls) and by address (`entra_users.mail` and,
after their `smtp:`, `proxyAddresses[]` with what mail, events and contacts hold).

"""

LAYOUTS = """\
### Layout `flat`

With `output.layout: flat` the files hold the same rows for readers that know neither nested columns nor timestamps: a
nested column is one text column with JSON in it (all properties in the order of the schema, nulls written out), an
instant is text such as `2026-03-01T09:00:00.000000Z`, of one width, so that it sorts like time. Booleans and numbers
stay. In DuckDB:

```sql
SELECT start ->> 'dateTime' AS begins, json_array_length(attendees) AS invited
FROM read_parquet('calendar_events/*/*.parquet');
```

A change of the layout makes later rows incomparable with earlier ones and is refused like a change of the rules: use
another destination and state, or `--accept-new-pseudonyms`.

"""

GROWTH = """\
## From night to night

Within a run every record is there once. Over the runs, of rows with one key the one with the greatest `_run_id` counts;
where a run reads a range again in full, absence means that the record is gone. Which of it applies follows from how the
dataset is read:

- **snapshot**: every run, also a backfill, writes all there is.
- **overlap snapshot**: a run reads its new window and, again, the days before it, because Microsoft rewrites and
  removes these records.
- **window of changes**: a run writes what was created or changed since the last one; a record that changes later, if
  after months, comes once more.
- **window**: a run writes what came since the last one, as it was that night; later changes are not told.
- **what the run points to**: meetings are looked up by the join links that the run meets in other datasets, and come
  again whenever their link does. Absence says nothing.

A run that failed to read a mailbox, or left it out, proves nothing about it: the manifest names it under `failed` or
`skipped`, and the next run starts from that mailbox's own watermark, or another member reads its chats from where
it was left. A record that a run rejected looks as if it were gone until a later run can read it. Rows of people who
left stay; `current_entra_users` tells who is there.

"""

REMARKS = """
*Settles*: the newest edge is left to the next run, because Graph shows these records late. *Read again*: how far before
its watermark a run begins. Both are the defaults of `windows.settle` and `windows.overlap`.

- Calls: Graph keeps records for 30 days; an older backfill finds nothing, and that is no deletion. The newest row has
  the highest `version`.
- Attendance: Graph lists the newest 50 reports of a meeting. Meetings of a channel have none here: Graph does not show
  who attended them. Where an organizer's calendar failed, his reports are read back to there when it is back, at most
  60 days.
- Chats: one of the members in scope reads each chat, whoever that is that night. A chat in which nobody in scope is any
  more stays as it was last seen. Where the reader failed one night and is somebody else the next, that one reads from
  where the chat was left, and the other messages of those days that this member reads come again.

"""

STATE = """\
### What there is now

[queries/runs.sql](queries/runs.sql) gathers from the manifests which run read what, and
[queries/current](queries/current) has a view for each dataset. In DuckDB:

```sql
SET VARIABLE export = 's3://bucket/prefix';
.read docs/queries/runs.sql
.read docs/queries/current/calendar_events.sql
SELECT count(*) FROM current_calendar_events;
```

Where absence says nothing, the view is no more than this:

"""

ABSENCE = """
Where it does, a later run is held against a row if it read the row's time and its owner's data:

"""

EXAMPLES = """
`runs.sql`, which that needs, skips runs that were asked to end in the past, since they may have read less than usual.
Examples that build on these views:

- [Meetings per week and group](queries/meetings_per_week_and_group.sql)
- [Response times](queries/response_times.sql) to mail
- [Focus time](queries/focus_time.sql): hours in long stretches without a meeting
- [Who works with whom](queries/who_works_with_whom.sql): mails and meetings of each pair of people

"""


def page(datasets: Sequence[Semantics]) -> str:
    """The whole page."""
    return (
        "".join(
            (
                INTRODUCTION,
                *_contents(datasets),
                COMMON,
                *_metadata(),
                PSEUDONYMS,
                *_treatments(datasets),
                LAYOUTS,
                GROWTH,
                *_growth(datasets),
                STATE,
                _sql(current_state(_named(datasets, "mail_messages"))),
                ABSENCE,
                _sql(current_state(_named(datasets, "calendar_events"))),
                EXAMPLES,
                *(line for each in datasets for line in _dataset(each)),
            )
        ).rstrip()
        + "\n"
    )


def files(datasets: Sequence[Semantics]) -> dict[str, str]:
    """Everything that is written, by its path below the folder of documentation."""
    views = {f"queries/current/{each.dataset}.sql": current_state(each) for each in datasets}
    return {"datasets.md": page(datasets), "queries/runs.sql": RUNS, **views}


def _contents(datasets: Sequence[Semantics]) -> Iterator[str]:
    yield "| dataset | a row is | key | grows as |\n|---|---|---|---|\n"
    for each in datasets:
        key = ", ".join(f"`{path}`" for path in each.rules.key)
        yield f"| [{each.dataset}](#{each.dataset}) | {each.rules.row} | {key} | {each.growth} |\n"
    yield "\n"


def _metadata() -> Iterator[str]:
    yield "| column | type | meaning |\n|---|---|---|\n"
    for field in METADATA_FIELDS:
        yield f"| `{field.name}` | {_type(str(field.type))} | {METADATA_MEANINGS[field.name]} |\n"
    yield (
        "\nNo dataset writes tombstones at present, so `_removed` is null. The files' own metadata has dataset, schema "
        "version, rules\nfingerprint and profile (`m365_export.*`).\n\n### Pseudonyms and treatments\n\n"
    )


def _treatments(datasets: Sequence[Semantics]) -> Iterator[str]:
    used = {name for each in datasets for rule in each.rules.fields for name in rule.treatments.values()}
    yield "| treatment | what leaves |\n|---|---|\n"
    yield from (f"| {name} | {meaning} |\n" for name, meaning in _MEANINGS.items() if name in used)
    yield "\n"


def _growth(datasets: Sequence[Semantics]) -> Iterator[str]:
    heads = (
        "dataset",
        "grows as",
        "belongs to the window of its",
        "settles",
        "read again",
        "a record that is gone",
        "view",
    )
    yield f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n"
    for each in datasets:
        source = each.source
        instants = " or ".join(f"`{path}`" for path in source.instants) or "–"
        if source.from_beginning:
            instants += "; the first run and a backfill: all since the beginning"
        counts = each.deletion not in (Deletion.BY_ROW, Deletion.NEVER)
        view = f"[{'newest row, if not absent later' if counts else 'newest row'}](queries/current/{each.dataset}.sql)"
        cells = (each.dataset, each.growth, instants, _span(source.settle), _span(source.overlap), each.deletion, view)
        yield f"| {' | '.join(cells)} |\n"
    yield REMARKS


def _dataset(each: Semantics) -> Iterator[str]:
    rules = each.rules
    key = ", ".join(f"`{path}`" for path in rules.key)
    time = f"`{rules.time}`; files are sorted by it" if rules.time else "none"
    yield (
        f"## {rules.dataset}\n\n"
        f"A row is {rules.row}.\n\n"
        f"- key: {key}\n"
        f"- time: {time}\n"
        f"- `_owner`: {f'the {rules.owner}' if rules.owner else 'none'}\n"
        f"- grows as: {each.growth}; a record that is gone: {each.deletion}\n"
        f"- connector `{rules.connector}`, schema version {rules.version}, source {_link(rules.source)}\n\n"
        f"| column | type | meaning | {' | '.join(PROFILES)} |\n|---|---|---|{'---|' * len(PROFILES)}\n"
    )
    types = output_types(rules)
    for rule in rules.fields:
        treatments = (rule.treatment(profile) for profile in PROFILES)
        cells = (f"`{rule.path}`", _field_type(rule, types[rule.path]), _meaning(rule, rules.source), *treatments)
        yield f"| {' | '.join(cells)} |\n"
    yield "\n"


def _field_type(rule: FieldRule, arrow: str) -> str:
    note = _NOTES.get(rule.type)
    return f"{_type(arrow)}, {note}" if note else _type(arrow)


def _meaning(rule: FieldRule, source: str) -> str:
    text = rule.why.replace("|", "\\|")
    return text if rule.source == source else f"{text} ({_link(rule.source)})"


def _named(datasets: Sequence[Semantics], name: str) -> Semantics:
    return next(each for each in datasets if each.dataset == name)


def _sql(text: str) -> str:
    return f"```sql\n{text}```\n"


def _link(source: str) -> str:
    return f"[{source.rpartition('/')[2]}]({source})"


def _type(arrow: str) -> str:
    return _TYPES.get(arrow, arrow)


def _span(span: timedelta) -> str:
    return f"{span.days} d" if span else "–"

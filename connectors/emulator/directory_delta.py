"""Delta queries of the directory: users, and groups with their members.

https://learn.microsoft.com/graph/api/user-delta and .../group-delta (checked 2026-11). What is deleted can be restored
for thirty days, and is told once more when it is gone for good. Objects are also told for changes that no property
shows, and some twice in a round. A token is good for seven days; after that `Location` says where to begin again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.emulator.call import Call, Reply, refuse_options
from connectors.emulator.delta import Span, nothing, round_of, tell, tombstone
from connectors.emulator.directory import GROUP, USER, Group
from connectors.emulator.directory_api import DEFAULT_PAGE, LARGEST_PAGE, check_select
from connectors.emulator.errors import GraphError, unsupported_query
from connectors.emulator.filters import Comparison, Filter, Junction
from connectors.emulator.paging import query_of
from connectors.emulator.people import Person
from connectors.emulator.shapes import Selection
from connectors.emulator.ticks import DAY
from connectors.emulator.truth import render_member

TOKEN_LIFETIME_S = 7 * 86_400
KEPT_FOR = 30 * DAY  # what is deleted can be restored for so long
MEMBERS_PER_RECORD = 10
_IDS_PER_FILTER = 50
_UNSEEN_EVERY = 35 * DAY  # how often an object changes in what no property shows
_TOLD_TWICE = 16  # one user in so many
_RELATIONS = ("members", "owners")


def users_delta(call: Call) -> Reply:
    """GET /users/delta."""
    _check(call)
    check_select(call, USER.properties)
    current, span = round_of(call)
    if _wants_only_the_future(call):
        return nothing(current)
    selection, changed = USER.selection(_names(call, span)), USER.selection(_names(call, span, "accountEnabled"))
    context, ids = call.tenant.directory_context(), _ids(call.filter)
    numbers = (*range(call.tenant.people.count), *range(0, call.tenant.people.count, _TOLD_TWICE))

    def walk(place: int) -> Iterator[Mapping[str, Any] | None]:
        for number in numbers[place:]:
            person = call.tenant.people.person(number)
            if (ids is not None and person.id not in ids) or not _is_told(call, person, span):
                yield None
            else:
                has_changed = span.covers(call.tenant.changed_at(person))
                yield _gone(call, person, span) or USER.render(person, context, changed if has_changed else selection)

    return _told(call, tell(call, current, walk, length=len(numbers), size=_page_size(call)))


def groups_delta(call: Call) -> Reply:
    """GET /groups/delta: a group with many members comes in several records, each with some of them."""
    _check(call)
    check_select(call, {*GROUP.properties, *_RELATIONS})
    current, span = round_of(call)
    if _wants_only_the_future(call):
        return nothing(current)
    selection = GROUP.selection(_names(call, span))
    ids = _ids(call.filter)
    groups = [group for group in call.tenant.groups if ids is None or group.id in ids]
    with_members = call.select is None or "members" in call.select
    members = {group.number: _members(call, group, span) if with_members else [] for group in groups}
    parts = [(part, group) for group in groups for part in range(_records(members[group.number]))]
    parts.sort(key=lambda part: part[0])  # a group's records are far from each other

    def walk(place: int) -> Iterator[Mapping[str, Any] | None]:
        for part, group in parts[place:]:
            yield _group_record(call, group, part, members[group.number], span, selection)

    return _told(call, tell(call, current, walk, length=len(parts), size=_page_size(call)))


def _records(members: Sequence[object]) -> int:
    return max(1, -(-len(members) // MEMBERS_PER_RECORD))


def _group_record(
    call: Call,
    group: Group,
    part: int,
    members: Sequence[Mapping[str, Any]],
    span: Span,
    selection: Selection[Group, Any],
) -> Mapping[str, Any] | None:
    if not call.tenant.holds(group):
        return _gone(call, group, span) if part == 0 else None
    if not members and not _is_told(call, group, span):
        return None
    record = GROUP.render(group, call.tenant.directory_context(), selection)
    some = members[part * MEMBERS_PER_RECORD : (part + 1) * MEMBERS_PER_RECORD]
    return {**record, "members@delta": some} if some else record


def _members(call: Call, group: Group, span: Span) -> list[dict[str, Any]]:
    """Who is in a group, and who left it; after the first round only those who came or left. By id: the order stays."""
    tenant, moves = call.tenant, call.tenant.groups.moves(group)
    told = {member_id: tombstone(member_id) for member_id in moves}
    removed, changed = {}, {}
    for member in tenant.groups.members(group):
        record = render_member(member, tenant, ("id",))
        removed[record["id"]] = gone = tenant.removed_at(member)
        changed[record["id"]] = tenant.changed_at(member)
        told[record["id"]] = record if gone is None else tombstone(record["id"])
    return [
        told[member_id]
        for member_id in sorted(told)
        if span.since is None or span.covers(*(instants.get(member_id) for instants in (moves, removed, changed)))
    ]


def _check(call: Call) -> None:
    """Raises GraphError for options that the directory's delta queries do not take, and for tokens that are too old."""
    refuse_options(call, "$expand", "$top", "$orderby", "$search", "$skip", "$count")
    now = call.tenant.clock.now.timestamp()
    if call.place.begins_round and now > call.place.issued_at + TOKEN_LIFETIME_S:
        again = query_of({**call.options, "$deltatoken": ""})
        message = "The delta token is too old; a full synchronization is required."
        raise GraphError(410, "resyncRequired", message, headers={"Location": f"{call.address}?{again}"})


def _wants_only_the_future(call: Call) -> bool:
    return call.place.round is None and call.options.get("$deltatoken", "").lower() == "latest"


def _names(call: Call, span: Span, *changed: str) -> tuple[str, ...] | None:
    """The properties of a record; with `return=minimal` only those that `changed`."""
    if _is_minimal(call) and span.since is not None:
        return ("id", *(name for name in changed if call.select is None or name in call.select))
    return call.select and ("id", *(name for name in call.select if name not in _RELATIONS))


def _is_minimal(call: Call) -> bool:
    return call.preferences.get("return", "").lower() == "minimal"


def _told(call: Call, reply: Reply) -> Reply:
    return Reply(page=reply.page, headers={"Preference-Applied": "return=minimal"} if _is_minimal(call) else {})


def _ids(condition: Filter | None) -> frozenset[str] | None:
    """The ids that a filter names; None where there is no filter. Raises GraphError for any other filter."""
    match condition:
        case None:
            return None
        case Comparison(path="id", operator="eq", value=str(text)):
            return frozenset({text})
        case Junction(word="or", terms=terms) if len(terms) <= _IDS_PER_FILTER:
            return frozenset().union(*(_ids(term) or () for term in terms))
    raise unsupported_query("Changes can be filtered by up to fifty ids only.")


def _is_told(call: Call, item: Person | Group, span: Span) -> bool:
    """Whether a round tells of an object: the first of all, others of what went or changed in what is not seen."""
    if not call.tenant.holds(item):
        return _gone(call, item, span) is not None
    if span.since is None or span.covers(call.tenant.changed_at(item)):
        return True
    kind = "unseen-user" if isinstance(item, Person) else "unseen-group"
    phase = call.tenant.noise.number(kind, item.number, below=_UNSEEN_EVERY)
    return (span.until - phase) // _UNSEEN_EVERY > (span.since - 1 - phase) // _UNSEEN_EVERY


def _gone(call: Call, item: Person | Group, span: Span) -> dict[str, Any] | None:
    """The tombstone of an object that went in a round."""
    removed = call.tenant.removed_at(item)
    if removed is None or not span.covers(removed, removed + KEPT_FOR):
        return None
    return tombstone(item.id, reason="deleted" if span.covers(removed + KEPT_FOR) else "changed")


def _page_size(call: Call) -> int:
    return min(call.preferred_page or DEFAULT_PAGE, LARGEST_PAGE)

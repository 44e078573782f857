"""Endpoints of the directory: users, groups, members.

https://learn.microsoft.com/graph/api/user-list and .../aad-advanced-queries (checked 2026-11).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from connectors.emulator.call import Call, Reply, refuse_options
from connectors.emulator.directory import GROUP, NOT_IN_LISTS, USER, DirectoryContext, Group, Member
from connectors.emulator.errors import GraphError, bad_query, no_directory_object, unsupported_query
from connectors.emulator.filters import AnyOf, Comparison, Filter, Junction, Negation, StartsWith, holds, leaves
from connectors.emulator.people import Person
from connectors.emulator.shapes import Shape, UnknownProperty
from connectors.emulator.truth import render_member

DEFAULT_PAGE, LARGEST_PAGE = 100, 999
_PAGE_WHEN_EXPANDED, _LONGEST_EXPANSION = 100, 20
_EQUALITY = frozenset(
    {
        *("accountEnabled", "id", "mail", "userPrincipalName", "displayName", "department", "userType"),
        *("mailNickname", "employeeId", "securityEnabled", "mailEnabled", "onPremisesSyncEnabled"),
    }
)
_PREFIX = frozenset({"displayName", "mail", "userPrincipalName", "givenName", "surname", "mailNickname"})
_ANY = frozenset({"groupTypes", "resourceProvisioningOptions", "proxyAddresses"})


def list_users(call: Call) -> Reply:
    """GET /users."""
    check_select(call, USER.properties)
    tenant = call.tenant
    return _list(call, tenant.people.count, tenant.people.person, USER, {"manager": _nobody})


def get_user(call: Call) -> Reply:
    """GET /users/{id}."""
    person = call.person()
    names = call.select
    try:
        record = USER.render(person, call.tenant.directory_context(), USER.selection(names))
    except UnknownProperty as error:
        raise bad_query(str(error)) from error
    return Reply(record=record)


def list_groups(call: Call) -> Reply:
    """GET /groups."""
    check_select(call, GROUP.properties)
    return _list(call, call.tenant.groups.count, call.tenant.groups.group, GROUP, {"members": _first_members})


def get_group(call: Call) -> Reply:
    """GET /groups/{id}."""
    check_select(call, GROUP.properties)
    return Reply(record=GROUP.render(_group(call), call.tenant.directory_context(), GROUP.selection(call.select)))


def list_members(call: Call) -> Reply:
    """GET /groups/{id}/members: direct members of mixed types."""
    group, groups = _group(call), call.tenant.groups
    return _members(call, groups.member_count(group), lambda number: groups.member(group, number))


def list_transitive_members(call: Call) -> Reply:
    """GET /groups/{id}/transitiveMembers: members, members of groups among them, and so on, each once."""
    reached = call.tenant.groups.reached_from(_group(call))
    return _members(call, len(reached), reached.__getitem__)


def _members(call: Call, count: int, member_at: Callable[[int], Member]) -> Reply:
    refuse_options(call, "$skip")
    if call.filter is not None or call.order or "$search" in call.options:
        _need_advanced_mode(call)
        raise unsupported_query("Unsupported query.")
    names = call.select
    if "User.Read.All" not in call.grant.roles and "Directory.Read.All" not in call.grant.roles:
        names = ("id",)  # with too small a permission a member is a type and an id

    def walk(start: int) -> Iterator[Mapping[str, Any] | None]:
        for number in range(start, count):
            member = member_at(number)
            yield render_member(member, call.tenant, names) if call.tenant.holds(member) else None

    return Reply(page=call.page_of(walk, length=count, size=_page_size(call)))


def _group(call: Call) -> Group:
    group = call.tenant.groups.find(call.keys["group"])
    if group is None or not call.tenant.holds(group):
        raise no_directory_object(call.keys["group"])
    return group


def resource_units(call_kind: str, options: Mapping[str, str]) -> int:
    """What a request costs: the base cost, less with $select and small pages, more with $expand."""
    units = {"users": 2, "members": 3, "transitiveMembers": 5}.get(call_kind, 1)
    units -= "$select" in options
    units += "$expand" in options
    units -= options.get("$top", "100").isdigit() and int(options.get("$top", "100")) < 20
    return max(1, units)


def _first_members(call: Call, group: Group) -> dict[str, Any]:
    """Members as $expand shows them: no more than twenty, and no link to the others."""
    present = (member for member in call.tenant.groups.members(group) if call.tenant.holds(member))
    return {"members": [render_member(member, call.tenant, None) for member in islice(present, _LONGEST_EXPANSION)]}


def _nobody(_: Call, __: Person) -> dict[str, Any]:
    """The manager of somebody who has none."""
    return {}


def _list(
    call: Call,
    count: int,
    item_of: Callable[[int], Any],
    shape: Shape[Any, DirectoryContext],
    relations: Mapping[str, Callable[[Call, Any], dict[str, Any]]],
) -> Reply:
    """A page of the users or groups, which are looked at all together only where a filter or an order needs it."""
    refuse_options(call, "$skip", "$search")
    expand = call.options.get("$expand")
    if expand is not None and expand not in relations:
        raise bad_query(f"Could not find a property named '{expand}' on type '{shape.type_name}'.")
    condition, context = call.filter, call.tenant.directory_context()
    _check_filter(call, condition)
    numbers: Sequence[int] = range(count)
    if condition is not None or call.order or call.wants_count:
        numbers = _chosen(call, numbers, item_of, shape)
    selection = shape.selection(call.select)

    def walk(start: int) -> Iterator[Mapping[str, Any] | None]:
        for number in numbers[start:]:
            item = item_of(number)
            if not call.tenant.holds(item):
                yield None
                continue
            record = shape.render(item, context, selection)
            yield record if expand is None else {**record, **relations[expand](call, item)}

    counted = len(numbers) if call.wants_count and not call.is_next_page else None  # on the first page only
    return Reply(page=call.page_of(walk, length=len(numbers), size=_page_size(call), count=counted))


def _chosen(
    call: Call, numbers: Sequence[int], item_of: Callable[[int], Any], shape: Shape[Any, DirectoryContext]
) -> Sequence[int]:
    """The numbers that the filter leaves, in the order that was asked for."""
    condition, context = call.filter, call.tenant.directory_context()
    chosen = [
        number
        for number in numbers
        if call.tenant.holds(item_of(number))
        and (condition is None or holds(condition, shape.lookup(item_of(number), context)))
    ]
    for path, descending in reversed(call.order):
        chosen.sort(key=lambda number: str(shape.value(item_of(number), context, path) or ""), reverse=descending)
    return chosen


def _page_size(call: Call) -> int:
    top = call.top()
    if top is not None and top > LARGEST_PAGE:
        message = f"Invalid page size specified: '{top}'. Must be between 1 and {LARGEST_PAGE} inclusive."
        raise bad_query(message, code="Request_BadRequest")
    if "$expand" in call.options:
        return _PAGE_WHEN_EXPANDED
    return top or DEFAULT_PAGE


def check_select(call: Call, properties: Collection[str]) -> None:
    """Raises GraphError where $select names what such a list does not have."""
    for name in call.select or ():
        if name in NOT_IN_LISTS:
            raise GraphError(501, "NotImplemented", "This operation target is not yet supported.")
        if name not in properties and name != "*":
            message = f"Could not find a property named '{name}' on type 'microsoft.graph.directoryObject'."
            raise bad_query(message)


def _check_filter(call: Call, condition: Filter | None) -> None:
    """What the directory filters by at all, and what only in advanced mode."""
    needs_advanced = call.wants_count or (condition is not None and bool(call.order))
    for path, _ in call.order:
        if path not in ("displayName", "userPrincipalName"):
            raise unsupported_query(f"Sorting by '{path}' is not supported.")
    if condition is not None:
        needs_advanced |= _has_negation(condition)
        for leaf in leaves(condition):
            if not _is_supported(leaf):
                raise unsupported_query("Unsupported or invalid query filter clause specified.")
            needs_advanced |= isinstance(leaf, Comparison) and leaf.operator == "ne"
            needs_advanced |= isinstance(leaf, StartsWith) and leaf.function == "endswith"
    if needs_advanced:
        _need_advanced_mode(call)


def _need_advanced_mode(call: Call) -> None:
    eventual = call.headers.get("ConsistencyLevel", "").lower() == "eventual"
    if call.is_next_page and not eventual:
        raise GraphError(400, "Directory_ExpiredPageToken", "The specified page token value has expired.")
    if not eventual or not call.wants_count:
        raise unsupported_query(
            "This query needs the header 'ConsistencyLevel: eventual' and the query option '$count=true'."
        )


def _is_supported(leaf: Comparison | StartsWith | AnyOf) -> bool:
    if isinstance(leaf, StartsWith):
        return leaf.path in _PREFIX
    if isinstance(leaf, AnyOf):
        return leaf.path in _ANY
    return leaf.path in _EQUALITY and leaf.operator in ("eq", "ne")


def _has_negation(node: Filter) -> bool:
    if isinstance(node, Junction):
        return any(_has_negation(term) for term in node.terms)
    return isinstance(node, Negation)

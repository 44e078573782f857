"""The table of permissions in the administrators' guide: which, for what, what else would do."""

from collections.abc import Iterator

from config.model import CONNECTOR_NAMES
from config.permissions import NEEDS, ROLES, Need

BEGIN = "<!-- permissions: from here written by `make docs` -->\n"
END = "<!-- permissions: to here -->\n"


def with_permissions(page: str) -> str:
    """`page` with the table between the two marks made anew.

    Raises: ValueError, where a mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the page has no place for the permissions")
    return "".join([before, begin, *(f"{line}\n" for line in _table()), end, after])


def _table() -> Iterator[str]:
    yield "| connector | permission | for | does as well | restricted by Exchange |"
    yield "|---|---|---|---|---|"
    for connector in CONNECTOR_NAMES:
        needs = [need for need in NEEDS if need.connector == connector]
        for role in dict.fromkeys(need.role for need in needs):
            yield _line(role, [need for need in needs if need.role == role])


def _line(role: str, needs: list[Need]) -> str:
    instead = dict.fromkeys(other for need in needs for other in need.instead)
    remarks = dict.fromkeys(need.optional for need in needs if need.optional)
    profiles = dict.fromkeys(profile for need in needs for profile in sorted(need.profiles or ()))
    datasets = ", ".join(f"`{need.dataset}`" for need in needs)
    only = f"; profile {', '.join(profiles)}" if profiles else ""
    optional = f"; optional: {', '.join(remarks)}" if remarks else ""
    exchange = ROLES[role].exchange
    cells = [needs[0].connector, f"`{role}`", f"{datasets}{only}{optional}", ", ".join(f"`{name}`" for name in instead)]
    return f"| {' | '.join(cells)} | {f'`{exchange}`' if exchange else 'no'} |"

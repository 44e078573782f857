"""Compares the roles in each application's token with what its connectors need: missing ones, and excess ones.

What Exchange grants with its RBAC for Applications is in no token: a mailbox role that is not there is no proof of
anything until a probe was refused.
    https://learn.microsoft.com/exchange/permissions-exo/application-rbac (checked 2026-11)
"""

from collections.abc import Collection, Iterator, Sequence

from config.clouds import CLOUDS
from config.model import Settings
from config.permissions import DIRECTORY, ROLES, Need, least_roles, needs_of
from config.setup.plan import connectors_read_with, consent_link
from connectors.doctor.sign_in import SignedIn
from pipeline.findings import Finding, error, note, ok, warning

Tried = Collection[tuple[str, str]]  # connector and dataset that a probe user settled


def examine_roles(settings: Settings, signed_in: Sequence[SignedIn], *, tried: Tried = ()) -> list[Finding]:
    """What each application's token grants; only those with a readable token are judged.

    A mailbox role that is missing is left to the probes where `tried` says that they settled it.
    """
    readable = [each for each in signed_in if each.claims is not None]
    findings = [*_directory(settings, readable, tried=tried)] if readable else []
    for each in readable:
        needs = [need for need in needs_read_with(settings, each) if need.connector != DIRECTORY]
        findings += [
            *_present(each),
            *_missing(settings, each, needs, held=_held(each), tried=tried),
            *_excess(settings, each),
        ]
    return findings


def needs_read_with(settings: Settings, signed_in: SignedIn) -> tuple[Need, ...]:
    """What this application has to be able to read: its connectors' datasets, and the directory where it is first."""
    return needs_of(settings, connectors_read_with(settings, signed_in.application.connectors))


def _held(signed_in: SignedIn) -> frozenset[str]:
    return signed_in.claims.roles if signed_in.claims is not None else frozenset()


def _present(signed_in: SignedIn) -> Iterator[Finding]:
    held = sorted(_held(signed_in))
    area = signed_in.application.area
    yield ok(area, f"roles in the token: {', '.join(held)}") if held else note(area, "the token has no roles at all")


def _directory(settings: Settings, readable: Sequence[SignedIn], *, tried: Tried) -> Iterator[Finding]:
    """Every run reads the directory, with the first application that may: one that may is enough."""
    held = frozenset(role for each in readable for role in _held(each))
    yield from _missing(settings, readable[0], needs_of(settings, (DIRECTORY,)), held=held, tried=tried)


def _missing(
    settings: Settings, signed_in: SignedIn, needs: Sequence[Need], *, held: Collection[str], tried: Tried
) -> Iterator[Finding]:
    unmet = [need for need in needs if not set(held) & set(need.sufficient)]
    for role, served in least_roles(unmet).items():
        yield from _about(settings, signed_in, role, served, tried=tried)


def _about(
    settings: Settings, signed_in: SignedIn, role: str, needs: Sequence[Need], *, tried: Tried
) -> Iterator[Finding]:
    area, datasets = needs[0].connector, ", ".join(dict.fromkeys(need.dataset for need in needs))
    optional = f" (optional: {needs[0].optional})" if all(need.optional for need in needs) else ""
    remedy = _how_to_grant(settings, signed_in, role)
    if ROLES[role].exchange:
        if all((need.connector, need.dataset) in tried for need in needs):
            return  # the probe has told what there is to tell
        yield warning(
            area,
            f"{role} is not in the token: {datasets} can be read only where Exchange grants it with RBAC for "
            f"Applications, which no token shows{optional}",
            f"Find out with --probe-allowed USER. If Exchange does not grant it: {remedy}",
        )
    elif optional:
        yield warning(area, f"{role} is missing: {datasets} will be left out{optional}", remedy)
    else:
        yield error(area, f"{role} is missing: {datasets} cannot be read", remedy)


def _how_to_grant(settings: Settings, signed_in: SignedIn, role: str) -> str:
    client_id = signed_in.application.auth.client_id or (signed_in.claims.client_id if signed_in.claims else "")
    add = f"Add the application permission {role} ({ROLES[role].id}) of Microsoft Graph"
    if signed_in.application.auth.method == "managed-identity":
        return f"{add} to the managed identity: `m365-export setup --format azure-cli` has the command"
    link = consent_link(CLOUDS[settings.tenant.cloud], settings.tenant.id, client_id)
    return f"{add} to the app registration and grant admin consent: {link}"


def _excess(settings: Settings, signed_in: SignedIn) -> Iterator[Finding]:
    held = _held(signed_in)
    own = needs_read_with(settings, signed_in)
    # Any application may be the one that reads the directory.
    accepted = (*own, *needs_of(settings, (DIRECTORY,)))
    needed = {role for need in accepted for role in (need.role, *need.instead)}
    for role in sorted(held - needed):
        need = next((need for need in accepted if role in need.broader), None)
        if need is None:
            yield warning(
                signed_in.application.area,
                f"{role} is excess: nothing these connectors read needs it",
                f"Remove {role} from the application's permissions and revoke its consent",
            )
            continue
        first = "" if held & {need.role, *need.instead} else f"Grant {need.role} first; then remove"
        exception = _EXCEPTION if role == "Calendars.Read" else ""
        yield warning(
            need.connector,
            f"{need.role} is what {need.dataset} needs, {role} is excess: it also opens {need.opens}",
            f"{first or 'Remove'} {role} from the application's permissions and revoke its consent{exception}",
        )


_EXCEPTION = (
    "; keep it where an application access policy restricts mailboxes, since such policies are not documented to "
    "restrict Calendars.ReadBasic.All"
)

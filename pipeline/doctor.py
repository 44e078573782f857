"""Examines everything a run depends on, before a night depends on it. Like `pipeline.app`, it knows all parts.

Every check gives findings instead of stopping at the first fault, so that one call shows all there is to mend.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from config.auth import EffectiveAuth
from config.locations import Location
from config.model import ConnectorName, Settings
from config.permissions import Need
from config.secrets import SecretReader
from connectors.doctor.mailboxes import (
    AREA,
    MAILBOX_PATHS,
    MEETINGS,
    Prober,
    Trial,
    judge_allowed,
    judge_denied,
    judge_meetings,
    settled,
    unknown_user,
)
from connectors.doctor.questions import Questioner
from connectors.doctor.reach import examine_reach
from connectors.doctor.roles import examine_roles, needs_read_with
from connectors.doctor.sign_in import Application, SignedIn, sign_in
from connectors.graph.clock import GraphClock
from connectors.graph.links import Links
from connectors.graph.network import Network
from pipeline.errors import ConfigurationError, StoreRefused, StoreUnavailable
from pipeline.findings import Finding, Level, error, note, ok, warning
from pipeline.sanitize.grammar import load_rest_rules
from pipeline.sanitize.pseudonym import salt_fingerprint
from pipeline.sanitize.rules import built_in_rules
from sinks.stores.exposure import Exposure, exposure
from sinks.stores.registry import open_destination, open_state

EVERY = "all connectors"  # where they share one application
SALT, RULES, DESTINATION, STATE = "salt", "rules", "destination", "state"
SETTINGS_AREAS = frozenset({SALT, RULES})  # what is wrong there is wrong in the settings, not outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What to examine besides the settings. The probe users are ids or sign-in names; they are never shown."""

    probe_allowed: str | None = None
    probe_denied: str | None = None
    expected_salt: str | None = None


async def examine(
    settings: Settings,
    *,
    reader: SecretReader,
    environ: Mapping[str, str],
    examination: Examination,
    clock: GraphClock | None = None,
) -> list[Finding]:
    """Every finding, in the order in which a run would meet what it is about."""
    clock = clock or GraphClock()
    network = Network.from_environment(environ, ca_file=settings.tenant.ca_file)
    async with Questioner(network, clock=clock) as questioner, asyncio.TaskGroup() as tasks:
        salt = tasks.create_task(asyncio.to_thread(_salt, settings, reader, examination.expected_salt))
        rules = tasks.create_task(asyncio.to_thread(_rules, settings))
        reach = tasks.create_task(examine_reach(settings.tenant, questioner))
        access = tasks.create_task(
            _access(settings, examination, questioner, reader=reader, network=network, clock=clock)
        )
        stores = tasks.create_task(_stores(settings))
    return [finding for task in (salt, rules, reach, access, stores) for finding in task.result()]


def _salt(settings: Settings, reader: SecretReader, expected: str | None) -> list[Finding]:
    fingerprint = salt_fingerprint(reader.read(settings.privacy.salt).reveal_text())
    findings = []
    if expected is None:
        findings.append(ok(SALT, f"salt fingerprint {fingerprint}; --expect-salt compares it with a proxy's"))
    elif expected.strip() == fingerprint:
        findings.append(ok(SALT, f"salt fingerprint {fingerprint}, as expected: the pseudonyms are the same"))
    else:
        what = f"the salt is another one: its fingerprint is {fingerprint}, expected was {expected.strip()}"
        findings.append(error(SALT, what, "Point privacy.salt at the salt whose fingerprint is expected (PSOXY_SALT)"))
    if settings.privacy.allow_weak_salt:
        what = "privacy.allow_weak_salt is on: a weak salt can be guessed, and with it every pseudonym"
        findings.append(warning(SALT, what, "Generate a salt of at least 16 random characters and turn it off"))
    return findings


def _rules(settings: Settings) -> list[Finding]:
    profile = settings.privacy.profile
    findings = [ok(RULES, f"the rules of {len(built_in_rules())} datasets are sound; profile {profile}")]
    can_reverse = settings.privacy.encryption_key is not None
    for name, path in settings.privacy.rules.paths.items():
        area = f"privacy.rules.{name}"
        try:
            rules = load_rest_rules(path.read_bytes(), name=path.name)
        except OSError as fault:
            findings.append(error(RULES, f"{area} cannot be read: {fault.strerror}", f"Correct {area}"))
            continue
        except ConfigurationError as faults:
            remedy = "Correct the file; `m365-export rules check FILE` repeats this lint"
            findings += [error(RULES, f"{area}: {fault}", remedy) for fault in faults.faults]
            continue
        needs_key = any(transform.needs_key for endpoint in rules.endpoints for transform in endpoint.transforms)
        if needs_key and not can_reverse:
            what = f"{area} makes reversible tokens, and there is no key for them"
            findings.append(error(RULES, what, "Set privacy.encryption_key, or take the reversible methods out"))
        else:
            findings.append(ok(RULES, f"{area} is sound: {len(rules.endpoints)} endpoints"))
    return findings


async def _access(
    settings: Settings,
    examination: Examination,
    questioner: Questioner,
    *,
    reader: SecretReader,
    network: Network,
    clock: GraphClock,
) -> list[Finding]:
    """Tokens, their roles, and what the probe users tell."""
    async with asyncio.TaskGroup() as tasks:
        signing_in = [
            tasks.create_task(sign_in(application, settings.tenant, reader=reader, network=network, clock=clock))
            for application in _applications(settings)
        ]
    signed_in = [task.result() for task in signing_in]
    prober = Prober(Links(settings.tenant.graph_url), questioner, clock=clock)
    trials, probed = await _probes(settings, examination, prober, [each for each in signed_in if each.token])
    return [
        *(finding for each in signed_in for finding in each.findings),
        *examine_roles(settings, signed_in, tried=settled(trials)),
        *probed,
    ]


def _applications(settings: Settings) -> list[Application]:
    sharing: dict[EffectiveAuth, list[ConnectorName]] = {}
    for name in settings.connectors.names:
        sharing.setdefault(settings.effective_auth(name), []).append(name)
    if len(sharing) == 1:
        return [Application(connectors=settings.connectors.names, auth=auth, area=EVERY) for auth in sharing]
    return [Application(connectors=tuple(names), auth=auth, area=", ".join(names)) for auth, names in sharing.items()]


async def _probes(
    settings: Settings, examination: Examination, prober: Prober, signed_in: Sequence[SignedIn]
) -> tuple[list[Trial], list[Finding]]:
    """What was tried on the allowed user, and findings about both."""
    if not signed_in:
        return [], []
    allowed, denied = examination.probe_allowed, examination.probe_denied
    trials: list[Trial] = []
    findings: list[Finding] = []
    for option, user in (("--probe-allowed", allowed), ("--probe-denied", denied)):
        if user is None:
            findings.append(note(AREA, f"the mailbox restriction was not tried: {option} USER does"))
            continue
        found = await prober.find(user, signed_in)
        if found is None:
            findings.append(unknown_user(option))
            continue
        tried = [await prober.attempt(found, each, need) for each, need in _triable(settings, signed_in)]
        if option == "--probe-denied":
            findings += [judge_denied(trial) for trial in tried if trial.need.dataset in MAILBOX_PATHS]
            continue
        trials = [trial for trial in tried if trial.need.dataset in MAILBOX_PATHS]
        findings += [judge_allowed(trial) for trial in trials]
        findings += [judge_meetings(trial) for trial in tried if trial.need.dataset == MEETINGS]
    return trials, findings


def _triable(settings: Settings, signed_in: Sequence[SignedIn]) -> Iterator[tuple[SignedIn, Need]]:
    """What can be tried on one user; what is optional only where its role is granted."""
    for each in signed_in:
        for need in needs_read_with(settings, each):
            is_wanted = not need.optional or each.claims is None or each.claims.roles & set(need.sufficient)
            if is_wanted and (need.dataset in MAILBOX_PATHS or need.dataset == MEETINGS):
                yield each, need


async def _stores(settings: Settings) -> list[Finding]:
    destination = await _store(DESTINATION, settings.destination, settings)
    state = await _store(STATE, settings.state, settings)
    return [*destination, *state]


async def _store(area: str, location: Location, settings: Settings) -> list[Finding]:
    try:
        store = (open_destination if area == DESTINATION else open_state)(location, settings.storage)
        try:
            await store.prove()
        finally:
            await store.close()
    except (StoreRefused, StoreUnavailable) as refusal:
        what, _, remedy = str(refusal).partition("; ")
        return [error(area, what, remedy[:1].upper() + remedy[1:] or _STORE_REMEDY.format(area))]
    proven = "a run's rights are there, and nothing can be overwritten" if area == DESTINATION else "readable, writable"
    return [ok(area, f"{location.scheme}: {proven}"), *await _exposure(area, location, settings)]


_STORE_REMEDY = "Check `{}` in the settings, the credentials the exporter runs with, and their rights there"


async def _exposure(area: str, location: Location, settings: Settings) -> list[Finding]:
    strangers = "every account of this machine" if location.scheme == "file" else "everybody on the internet"
    match await exposure(location, settings.storage):
        case Exposure.OPEN:
            remedy = (
                "Take the rights of others away (chmod o-rx)"
                if location.scheme == "file"
                else "Block public access of the bucket"
            )
            return [warning(area, f"{strangers} can read it", remedy)]
        case Exposure.UNKNOWN:
            return [note(area, "whether strangers can read it cannot be told")]
        case Exposure.CLOSED:
            return []


def has_settings_fault(findings: Sequence[Finding]) -> bool:
    """Whether something is wrong that the settings say, such as a salt that is not the expected one."""
    return any(finding.level is Level.ERROR and finding.area in SETTINGS_AREAS for finding in findings)


def has_fault(findings: Sequence[Finding]) -> bool:
    """Whether a run would fail or leave something out."""
    return any(finding.level is Level.ERROR for finding in findings)

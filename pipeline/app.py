"""The composition root: settings in, a run's equipment out. Nothing else in the product knows all its parts."""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib import metadata
from typing import Any, get_args

from config.auth import EffectiveAuth
from config.changed_defaults import relied_upon
from config.clouds import CLOUDS
from config.identity import run_scope_fingerprint
from config.model import ConnectorName, Privacy, RuleOptions, Settings
from config.model import Limits as LimitSettings
from config.permissions import DIRECTORY, GROUP_DATASETS
from config.secrets import SecretReader
from connectors.assumed_tenant import Breadth, Period, simulated
from connectors.entra_scope import EntraScope
from connectors.graph.auth import Tokens
from connectors.graph.budgets import Budgets
from connectors.graph.client import LARGEST_BODY_BYTES, GraphClient, HttpOptions, Manners
from connectors.graph.network import Network
from connectors.graph.pacing import BudgetPacing
from connectors.graph.throttle import Governor
from connectors.graph.virtual_run import Phase
from connectors.options import ConnectorOptions
from connectors.registry import build
from connectors.sign_in import credential_of
from pipeline.directory import FirstPermitted
from pipeline.equipment import Equipment, Identity, Limits
from pipeline.facts import Waits
from pipeline.live import EVERY_CLOUD, EVERY_LOCAL
from pipeline.memory import Memory
from pipeline.model import Principal, RunKind
from pipeline.operator_files import OperatorFiles, load_operator_files
from pipeline.ports import Blocking, Clock, Connector, Fence, Learning, OnFence, Preparation, Source
from pipeline.process import resident_bytes
from pipeline.progress import Progress, Usage
from pipeline.reading import Sanitizer
from pipeline.sanitize.columnar import ColumnarSanitizer
from pipeline.sanitize.columns import output_schema
from pipeline.sanitize.directory_index import EXTRA_SELECT, DirectoryIndex
from pipeline.sanitize.guard import EgressGuard
from pipeline.sanitize.ledger import fields_file
from pipeline.sanitize.operator_sanitizer import OperatorSanitizer
from pipeline.sanitize.pseudonym import DEFAULT_CACHE_ENTRIES, Pseudonymizer, salt_fingerprint
from pipeline.sanitize.rules import (
    DatasetRules,
    FieldRule,
    Owner,
    Profile,
    built_in_rules,
    rules_fingerprint,
)
from pipeline.sanitize.shapes import TokenForms
from pipeline.sanitize.suppression import Forms, SuppressingSanitizer, Suppressor
from pipeline.sanitize.treatments import Treatments
from pipeline.scope import Scope, Wanted
from pipeline.telemetry import Event, Log, log_fence
from pipeline.watermarks import Watermarks
from sinks.parquet.encoder import ROW_GROUP_BYTES
from sinks.parquet.part import PartFormat
from sinks.parquet.schema import part_schema
from sinks.snapshot import StateVault, derive_key
from sinks.stores.registry import OpenState, open_destination, open_state

# The dataset whose `id` says how an owner of this kind is treated.
_OWNER_DATASETS: Mapping[Owner, str] = {
    "mailbox": "entra_users",
    "group": "entra_groups",
    "team": "teams_teams",
}
MIB = 1 << 20
CACHE_SHARE = 16  # of the memory limit: pseudonyms that are remembered
CACHED_BYTES = 400  # of one of them: identifiers are long
SLACK_SHARE = 7  # of the memory limit: what allocators keep, and objects too small to count
WARMING_BYTES = 24 * MIB  # code and tables that the libraries load when they are first used
BODY_SHARE = 8  # of the memory limit: a larger answer is refused, and asked for with fewer items
LEAST_OF_A_RUN = 0.05  # of every budget, and one slot of each mailbox, beside a backfill that was given everything
LEAST_SHARE = 4  # of the memory limit: so much pages and rows get even where the process itself is large already


def tool_version() -> str:
    return metadata.version("m365-export")


def versions() -> list[str]:
    """What decides about the rows, a line each: the tool, the schemas, and the rules of each profile as they come."""
    rules = built_in_rules()
    schemas = ", ".join(f"{dataset} {rule_set.version}" for dataset, rule_set in sorted(rules.items()))
    fingerprints = ", ".join(
        f"{profile} {rules_fingerprint(list(rules.values()), profile, {})}" for profile in get_args(Profile)
    )
    return [f"m365-export {tool_version()}", f"schemas: {schemas}", f"rules: {fingerprints}"]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class DirectoryConnector:
    """The directory datasets, each read with the first application that may."""

    sources: Sequence[Source]
    name: str = DIRECTORY

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        del users, saved
        return Preparation()


@asynccontextmanager
async def equip(
    settings: Settings,
    *,
    reader: SecretReader,
    kind: RunKind,
    log: Log,
    connectors: Sequence[ConnectorName] = (),
    clock: Clock = utc_now,
    environ: Mapping[str, str] = os.environ,
    stop: asyncio.Event | None = None,
    progress: Progress | None = None,
    manners: Manners | None = None,
    workers: int | None = None,
    on_fence: Sequence[OnFence] = (),
) -> AsyncIterator[Equipment]:
    """Everything one command works with; closed when the context ends. `connectors` narrows the configured ones.

    `workers`: so many share the budgets, of which this process is one; None where it works alone. `on_fence` is told
    of fences beside display, log and facts.
    """
    progress = progress or Progress()
    waits = Waits()
    names = tuple(name for name in settings.connectors.names if not connectors or name in connectors)
    salt = reader.read(settings.privacy.salt)
    memory_bytes = settings.limits.memory_mib * MIB
    memory = Memory(memory_bytes, process_bytes=memory_bytes)
    pseudonymizer = build_pseudonymizer(
        settings.privacy, reader, cache_entries=memory_bytes // CACHE_SHARE // CACHED_BYTES
    )
    directory = DirectoryIndex()
    treatments = Treatments(
        pseudonymizer, group_original=settings.privacy.group_original, holds_person=directory.holds_person
    )
    operators = load_operator_files(settings.privacy.rules.paths, built_in_rules(), pseudonymizer)
    rules = {**built_in_rules(), **{name: each.rules for name, each in operators.datasets.items()}}
    async with AsyncExitStack() as stack:
        blocking = stack.enter_context(_worker_threads())
        manners = manners or Manners()
        budgets = _budgets(settings.limits, kind, manners.budgets).divided(workers or 1)
        governor = Governor(
            budgets,
            clock=manners.clock,
            on_fence=_named_by_pseudonym(
                pseudonymizer, progress.note_fence, partial(log_fence, log), waits.note, *on_fence
            ),
        )
        if workers is not None:
            governor.take_over()
        clients = await stack.enter_async_context(
            _clients(
                settings,
                names,
                reader=reader,
                governor=governor,
                environ=environ,
                manners=manners,
                progress=progress,
                blocking=blocking,
                memory=memory,
            )
        )
        forms = Forms(pseudonymizer)
        scope = Scope(_wanted(settings), EntraScope(list(clients.values())), forms=forms.of)
        reached = _connectors(settings, names, clients=clients, rules=rules, scope=scope)
        sources = [source for connector in reached for source in connector.sources]
        for source in sources:
            progress.of(source.dataset).connector = source.connector
        used = {source.dataset: rules[source.dataset] for source in sources}
        operators.require(used)
        fingerprint = rules_fingerprint(
            list(rules.values()), settings.privacy.profile, _rule_options(settings, operators.digests)
        )
        destination = open_destination(settings.destination, settings.storage)
        stack.push_async_callback(destination.close)
        state = open_state(settings.state, settings.storage)
        stack.push_async_callback(state.close)
        await destination.prove()
        await state.prove()
        memory.limit_bytes = _left_for_rows(memory_bytes, log)
        formats = _part_formats(settings, used, fingerprint, memory)
        suppressing = _suppression(settings, Suppressor(pseudonymizer, forms, excluded=lambda: scope.suppressed))
        yield Equipment(
            identity=Identity(
                tenant=hashlib.sha256(settings.tenant.id.encode()).hexdigest(),
                destination=str(settings.destination),
                connectors=names,
                profile=settings.privacy.profile,
                scope=run_scope_fingerprint(settings, names, salt=salt),
                rules_fingerprint=fingerprint,
                salt_fingerprint=salt_fingerprint(salt.reveal_text()),
                tool_version=tool_version(),
                schema_versions={dataset: rule_set.version for dataset, rule_set in used.items()},
                changed_defaults=relied_upon(settings),
            ),
            limits=Limits(
                principals_in_flight=settings.limits.mailboxes_in_flight,
                units_per_principal=settings.limits.per_mailbox_in_flight,
                part_size_bytes=settings.output.part_size_bytes,
                part_max_age=settings.output.part_max_age,
                initial_lookback=settings.initial_lookback,
            ),
            tenant=Principal.tenant(settings.tenant.id),
            connectors=reached,
            scope=scope,
            learners=[learner for each in reached if isinstance(each, Learning) for learner in each.learners],
            sanitizers={
                source.dataset: suppressing(_sanitizer(source, rules, operators, settings.privacy.profile, treatments))
                for source in sources
            },
            guards=build_guards(
                used, rules, profile=settings.privacy.profile, forms=_token_forms(settings.privacy), directory=directory
            ),
            directory=directory,
            fields_file=lambda run_id, counts: fields_file(
                used,
                counts,
                run_id=run_id,
                profile=settings.privacy.profile,
                rules_fingerprint=fingerprint,
                forms=_token_forms(settings.privacy),
            ),
            encoder=lambda dataset, run_id, at: formats(dataset, run_id, at).encoder(),
            empty_part=lambda dataset: formats(dataset, "", clock()).empty(),
            pseudonym=_remembered(pseudonymizer),
            owner=partial(_owner, rules, operators, settings, treatments),
            vault=state_vault(settings, reader),
            state=state,
            destination=destination,
            blocking=blocking,
            memory=memory,
            clock=clock,
            log=log,
            progress=progress,
            left_beside_backfill=1 - _backfill_share(settings.limits),
            told_every=EVERY_LOCAL if settings.state.scheme == "file" else EVERY_CLOUD,
            throttle=governor,
            waits=waits,
            stop=stop or asyncio.Event(),
        )


@asynccontextmanager
async def open_memory(settings: Settings, reader: SecretReader) -> AsyncIterator[tuple[OpenState, Watermarks]]:
    """The state alone, for commands that ask nobody else."""
    state = open_state(settings.state, settings.storage)
    try:
        salt = reader.read(settings.privacy.salt)
        yield (
            state,
            Watermarks(state, state_vault(settings, reader), salt_fingerprint=salt_fingerprint(salt.reveal_text())),
        )
    finally:
        await state.close()


def state_vault(settings: Settings, reader: SecretReader) -> StateVault:
    """Seals and opens the state of these settings."""
    return StateVault(derive_key(reader.read(settings.privacy.salt).reveal()))


def build_pseudonymizer(
    privacy: Privacy, reader: SecretReader, *, cache_entries: int = DEFAULT_CACHE_ENTRIES
) -> Pseudonymizer:
    key = privacy.encryption_key
    return Pseudonymizer(
        salt=reader.read(privacy.salt).reveal_text(),
        encryption_key=None if key is None else reader.read(key).reveal_text(),
        canonicalization=privacy.email_canonicalization,
        domains=privacy.email_domains,
        cache_entries=min(cache_entries, DEFAULT_CACHE_ENTRIES),
    )


def _left_for_rows(limit_bytes: int, log: Log) -> int:
    """What a process that is ready to read has left for pages and rows, of all the memory it may take."""
    taken = resident_bytes() + WARMING_BYTES + limit_bytes // CACHE_SHARE + limit_bytes // SLACK_SHARE
    least = limit_bytes // LEAST_SHARE
    if limit_bytes - taken < least:
        log.warning(Event.MEMORY_SHORT, memory_mib=limit_bytes // MIB, needed_mib=(taken + least) // MIB)
    return max(limit_bytes - taken, least)


@asynccontextmanager
async def _clients(
    settings: Settings,
    names: Sequence[ConnectorName],
    *,
    reader: SecretReader,
    governor: Governor,
    environ: Mapping[str, str],
    manners: Manners,
    progress: Progress,
    blocking: Blocking,
    memory: Memory,
) -> AsyncIterator[dict[EffectiveAuth, GraphClient]]:
    """One client for each application that the chosen connectors use, in their order."""
    network = Network.from_environment(environ, ca_file=settings.tenant.ca_file)
    clients: dict[EffectiveAuth, GraphClient] = {}
    progress.own_usage = lambda: _usage(clients.values(), governor)
    async with AsyncExitStack() as stack:
        for name in names:
            auth = settings.effective_auth(name)
            if auth not in clients:
                client = _client(
                    settings,
                    auth,
                    reader=reader,
                    network=network,
                    governor=governor,
                    manners=manners,
                    blocking=blocking,
                    memory=memory,
                )
                clients[auth] = await stack.enter_async_context(client)
        yield clients


def _connectors(
    settings: Settings,
    names: Sequence[ConnectorName],
    *,
    clients: Mapping[EffectiveAuth, GraphClient],
    rules: Mapping[str, DatasetRules],
    scope: Scope,
) -> list[Connector]:
    """The directory and the chosen connectors."""
    select = {dataset: _asked_for(rule_set, settings.privacy.profile) for dataset, rule_set in rules.items()}
    options = _connector_options(settings, scope)
    directories = [build(DIRECTORY, client=client, select=select, options=options) for client in clients.values()]
    own = [
        build(name, client=clients[settings.effective_auth(name)], select=select, options=options)
        for name in names
        if name != DIRECTORY
    ]
    return [_directory(directories, groups=settings.privacy.groups), *own]


def _wanted(settings: Settings) -> Wanted:
    scope = settings.scope
    return Wanted(
        include_groups=scope.include_groups,
        exclude_groups=scope.exclude_groups,
        exclude_users=scope.exclude_users,
        include_guests=scope.include_guests,
        include_shared=scope.include_shared,
        suppress=scope.suppress,
    )


def pacing_of(settings: Settings, kind: RunKind) -> BudgetPacing:
    """How fast a command of this kind may ask."""
    limits = settings.limits
    return BudgetPacing(_budgets(limits, kind), lanes=limits.mailboxes_in_flight * limits.per_mailbox_in_flight)


def simulated_run(limits: LimitSettings, period: Period, *, workers: int, breadth: Breadth) -> Sequence[Phase]:
    """A run over the assumed tenant, under the budgets that a command of its kind would have."""
    kind = RunKind.BACKFILL if period.is_backfill else RunKind.RUN
    return simulated(
        period,
        budgets=_budgets(limits, kind),
        workers=workers,
        principals_in_flight=limits.mailboxes_in_flight,
        breadth=breadth,
    )


def _budgets(limits: LimitSettings, kind: RunKind, given: Budgets | None = None) -> Budgets:
    budgets = replace(given or Budgets(), per_mailbox_in_flight=limits.per_mailbox_in_flight)
    return budgets.share(_backfill_share(limits)) if kind is RunKind.BACKFILL else budgets


def _backfill_share(limits: LimitSettings) -> float:
    """What a backfill takes of every budget; something is always left for the nightly run."""
    return min(limits.backfill_share, 1 - LEAST_OF_A_RUN)


def _named_by_pseudonym(pseudonymizer: Pseudonymizer, *listeners: OnFence) -> OnFence:
    """Nobody beyond the connectors learns whose mailbox or chat waits."""

    def tell(fence: Fence) -> None:
        named = replace(fence, principal=pseudonymizer.token(fence.principal) if fence.principal else None)
        for listener in listeners:
            listener(named)

    return tell


def _remembered(pseudonymizer: Pseudonymizer) -> Callable[[Principal], str]:
    """The pseudonym of a principal, made once: plan, journal and manifest ask for it again and again, and share it."""
    token = cache(pseudonymizer.token)
    return lambda principal: token(principal.id) or ""


def _usage(clients: Collection[GraphClient], governor: Governor) -> Usage:
    """What all applications together asked of Graph."""
    answers: Counter[tuple[str, str]] = Counter()
    for client in clients:
        answers.update(client.counters.answers)
    return Usage(answers, sum(client.counters.bytes for client in clients), governor.waited_s)


def _asked_for(rules: DatasetRules, profile: Profile) -> tuple[str, ...]:
    """What Graph is asked for: what the rules keep, and of users what the egress guard compares with."""
    return tuple(dict.fromkeys((*rules.select(profile), *EXTRA_SELECT.get(rules.dataset, ()))))


def _directory(candidates: Sequence[Connector], *, groups: bool) -> DirectoryConnector:
    by_dataset: dict[str, list[Source]] = {}
    for candidate in candidates:
        for source in candidate.sources:
            if groups or source.dataset not in GROUP_DATASETS:
                by_dataset.setdefault(source.dataset, []).append(source)
    return DirectoryConnector([FirstPermitted(sources) for sources in by_dataset.values()])


def _client(
    settings: Settings,
    auth: EffectiveAuth,
    *,
    reader: SecretReader,
    network: Network,
    governor: Governor,
    manners: Manners,
    blocking: Blocking,
    memory: Memory,
) -> GraphClient:
    tenant = settings.tenant
    cloud = CLOUDS[tenant.cloud]
    tokens = Tokens(
        credential=credential_of(auth, reader),
        client_id=auth.client_id or "",
        tenant_id=tenant.id,
        authority=tenant.authority or f"https://{cloud.authority_host}",
        scope=f"https://{cloud.graph_host}/.default",
        known_authority=tenant.authority is None,
        network=network,
        clock=manners.clock,
    )
    return GraphClient(
        graph=tenant.graph_url,
        tokens=tokens,
        governor=governor,
        network=network,
        retry=manners.retry,
        clock=manners.clock,
        options=manners.http or HttpOptions(body_bytes=min(LARGEST_BODY_BYTES, memory.limit_bytes // BODY_SHARE)),
        blocking=blocking,
        scales=memory,
    )


def _connector_options(settings: Settings, scope: Scope) -> ConnectorOptions:
    directory, mail = settings.connectors.entra_id, settings.connectors.outlook_mail
    folders = mail.folders if mail is not None else "all"
    return ConnectorOptions(
        settle_teams=settings.windows.settle.teams,
        settle_calls=settings.windows.settle.calls,
        overlap_calls=settings.windows.overlap.calls,
        overlap_calendar=settings.windows.overlap.calendar,
        calendar_ahead=settings.windows.calendar_ahead,
        include_guests=settings.scope.include_guests,
        transitive_members=directory is not None and directory.members == "transitive",
        scope=scope if scope.narrows else None,
        mail_folders=None if folders == "all" else tuple(folders),
    )


def _sanitizer(
    source: Source,
    rules: Mapping[str, DatasetRules],
    operators: OperatorFiles,
    profile: Profile,
    treatments: Treatments,
) -> Sanitizer:
    """The compiled engine, or the row engine where an operator's file decides."""
    decided = operators.datasets.get(source.dataset)
    if decided is not None:
        return OperatorSanitizer(decided, profile=profile, instants=source.instants)
    return ColumnarSanitizer(rules[source.dataset], profile=profile, treatments=treatments, instants=source.instants)


def _suppression(settings: Settings, suppressor: Suppressor) -> Callable[[Sanitizer], Sanitizer]:
    """What a sanitizer is wrapped in, so that excluded people are unknown to it where the settings want that."""
    if not (settings.scope.suppress and _wanted(settings).narrows):
        return lambda sanitizer: sanitizer
    return lambda sanitizer: SuppressingSanitizer(sanitizer, suppressor)


def _rule_options(settings: Settings, files: Mapping[str, str]) -> dict[str, object]:
    """What decides, beside the rules, about the rows; `files` are digests of operators' rules files."""
    privacy = settings.privacy
    return {
        **({"files": dict(files)} if files else {}),
        "canonicalization": privacy.email_canonicalization,
        "domains": privacy.email_domains,
        "group_original": privacy.group_original,
        "groups": privacy.groups,
        "reversible": privacy.encryption_key is not None,
        "layout": settings.output.layout,
    }


def _part_formats(
    settings: Settings, rules: Mapping[str, DatasetRules], fingerprint: str, memory: Memory
) -> Callable[[str, str, datetime], PartFormat]:
    def part_format(dataset: str, run_id: str, exported_at: datetime) -> PartFormat:
        rule_set = rules[dataset]
        schema = part_schema(
            output_schema(rule_set),
            dataset=dataset,
            schema_version=rule_set.version,
            rules_fingerprint=fingerprint,
            profile=settings.privacy.profile,
        )
        return PartFormat(
            schema=schema,
            run_id=run_id,
            exported_at=exported_at,
            sort_by=rule_set.time,
            layout=settings.output.layout,
            row_group_bytes=min(ROW_GROUP_BYTES, memory.row_group_bytes),
        )

    return part_format


def _owner(
    rules: Mapping[str, DatasetRules],
    operators: OperatorFiles,
    settings: Settings,
    treatments: Treatments,
    dataset: str,
    principal: Principal,
) -> str | None:
    """The `_owner` of a dataset's rows, treated as the id of its kind is treated everywhere else."""
    id_rule = _owner_rule(rules, dataset)
    kind = rules[dataset].owner
    if id_rule is None or kind is None:
        return None
    if (decided := operators.datasets.get(_OWNER_DATASETS[kind])) is not None:
        return decided.treated_id(principal.id)
    treatment = id_rule.treatment(settings.privacy.profile)
    if treatment == "keep":
        return principal.id
    return treatments[treatment]([principal.id])[0]


def _owner_rule(rules: Mapping[str, DatasetRules], dataset: str) -> FieldRule | None:
    """The rule of the id that `_owner` repeats."""
    kind = rules[dataset].owner
    if kind is None:
        return None
    return next(rule for rule in rules[_OWNER_DATASETS[kind]].fields if rule.path == "id")


def _token_forms(options: RuleOptions) -> TokenForms:
    return TokenForms(domains=options.email_domains, group_original=options.group_original)


def build_guards(
    used: Mapping[str, DatasetRules],
    rules: Mapping[str, DatasetRules],
    *,
    profile: Profile,
    forms: TokenForms,
    directory: DirectoryIndex,
) -> dict[str, EgressGuard]:
    """A guard for each dataset that is used; `rules` has also those that say how owners are treated."""
    return {
        dataset: EgressGuard(
            rule_set,
            profile=profile,
            directory=directory,
            forms=forms,
            owner=_owner_rule(rules, dataset),
        )
        for dataset, rule_set in used.items()
    }


@contextmanager
def _worker_threads() -> Iterator[Blocking]:
    """A pool for what blocks or computes; as many threads as there are cores, since Arrow frees the lock."""
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="columns") as threads:

        async def blocking(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return await asyncio.get_running_loop().run_in_executor(threads, partial(function, *args, **kwargs))

        yield blocking

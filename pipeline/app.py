"""The composition root: settings in, a run's equipment out. Nothing else in the product knows all its parts."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from config.changed_defaults import relied_upon
from config.identity import run_scope_fingerprint
from config.model import ConnectorName, Settings
from config.secrets import SecretReader
from connectors.entra_scope import EntraScope
from connectors.graph.client import Manners
from connectors.graph.throttle import Governor
from pipeline.access import backfill_share, budgets_of, clients_of, connectors_of, named_by_pseudonym, wanted_of
from pipeline.equipment import Equipment, Identity, Limits
from pipeline.facts import Waits
from pipeline.live import EVERY_CLOUD, EVERY_LOCAL
from pipeline.memory import LEAST_SHARES, Memory
from pipeline.model import Principal, RunKind
from pipeline.operator_files import load_operator_files
from pipeline.ports import Blocking, Clock, Learning, OnFence
from pipeline.process import resident_bytes
from pipeline.progress import Progress
from pipeline.protection import (
    build_guards,
    build_pseudonymizer,
    owner_of,
    pseudonym_of,
    rule_options,
    sanitizer_of,
    suppression,
    token_forms,
)
from pipeline.sanitize.columns import output_schema
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.ledger import fields_file
from pipeline.sanitize.pseudonym import salt_fingerprint
from pipeline.sanitize.rules import (
    DatasetRules,
    built_in_rules,
    rules_fingerprint,
)
from pipeline.sanitize.suppression import Forms, Suppressor
from pipeline.sanitize.treatments import Treatments
from pipeline.scope import Scope
from pipeline.telemetry import Event, Log, log_fence
from pipeline.versions import tool_version
from pipeline.watermarks import Watermarks
from sinks.parquet.encoder import ROW_GROUP_BYTES
from sinks.parquet.part import PartFormat
from sinks.parquet.schema import part_schema
from sinks.snapshot import StateVault, derive_key
from sinks.stores.registry import OpenState, open_destination, open_state

MIB = 1 << 20
CACHE_SHARE = 16  # of the memory limit: pseudonyms that are remembered
CACHED_BYTES = 400  # of one of them: identifiers are long
SLACK_SHARE = 4  # of the memory limit: what allocators keep, and objects too small to count
WARMING_BYTES = 24 * MIB  # code and tables that the libraries load when they are first used


def utc_now() -> datetime:
    return datetime.now(UTC)


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
        budgets = budgets_of(settings.limits, kind, manners.budgets).divided(workers or 1)
        governor = Governor(
            budgets,
            clock=manners.clock,
            on_fence=named_by_pseudonym(
                pseudonymizer, progress.note_fence, partial(log_fence, log), waits.note, *on_fence
            ),
        )
        if workers is not None:
            governor.take_over()
        clients = await stack.enter_async_context(
            clients_of(
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
        wanted = wanted_of(settings)
        scope = Scope(wanted, EntraScope(list(clients.values())), forms=forms.of)
        reached = connectors_of(settings, names, clients=clients, rules=rules, scope=scope)
        sources = [source for connector in reached for source in connector.sources]
        for source in sources:
            progress.of(source.dataset).connector = source.connector
        used = {source.dataset: rules[source.dataset] for source in sources}
        operators.require(used)
        fingerprint = rules_fingerprint(
            list(rules.values()), settings.privacy.profile, rule_options(settings, operators.digests)
        )
        destination = open_destination(settings.destination, settings.storage)
        stack.push_async_callback(destination.close)
        state = open_state(settings.state, settings.storage)
        stack.push_async_callback(state.close)
        await destination.prove()
        await state.prove()
        memory.limit_bytes = _left_for_rows(memory_bytes, log)
        formats = _part_formats(settings, used, fingerprint, memory)
        suppressing = suppression(wanted, Suppressor(pseudonymizer, forms, excluded=lambda: scope.suppressed))
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
                source.dataset: suppressing(
                    sanitizer_of(source, rules, operators, settings.privacy.profile, treatments)
                )
                for source in sources
            },
            guards=build_guards(
                used, rules, profile=settings.privacy.profile, forms=token_forms(settings.privacy), directory=directory
            ),
            directory=directory,
            fields_file=lambda run_id, counts: fields_file(
                used,
                counts,
                run_id=run_id,
                profile=settings.privacy.profile,
                rules_fingerprint=fingerprint,
                forms=token_forms(settings.privacy),
            ),
            encoder=lambda dataset, run_id, at: formats(dataset, run_id, at).encoder(),
            empty_part=lambda dataset: formats(dataset, "", clock()).empty(),
            pseudonym=pseudonym_of(pseudonymizer),
            owner=partial(owner_of, rules, operators, settings, treatments),
            vault=state_vault(settings, reader),
            state=state,
            destination=destination,
            blocking=blocking,
            memory=memory,
            clock=clock,
            log=log,
            progress=progress,
            left_beside_backfill=1 - backfill_share(settings.limits),
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


def _left_for_rows(limit_bytes: int, log: Log) -> int:
    """What a process that is ready to read has left for pages and rows, of all the memory it may take."""
    taken = resident_bytes() + WARMING_BYTES + limit_bytes // CACHE_SHARE + limit_bytes // SLACK_SHARE
    least = limit_bytes // LEAST_SHARES
    if limit_bytes - taken < least:
        log.warning(Event.MEMORY_SHORT, memory_mib=limit_bytes // MIB, needed_mib=(taken + least) // MIB)
    return max(limit_bytes - taken, least)


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


@contextmanager
def _worker_threads() -> Iterator[Blocking]:
    """A pool for what blocks or computes; as many threads as there are cores, since Arrow frees the lock."""
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="columns") as threads:

        async def blocking(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return await asyncio.get_running_loop().run_in_executor(threads, partial(function, *args, **kwargs))

        yield blocking

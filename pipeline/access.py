"""Access to Graph as the settings want it: applications, budgets, connectors, and whose data they read."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from config.auth import EffectiveAuth
from config.model import ConnectorName, Settings
from config.model import Limits as LimitSettings
from config.permissions import DIRECTORY, GROUP_DATASETS
from config.secrets import SecretReader
from connectors.assumed_tenant import Breadth, Period, simulated
from connectors.graph.auth import Tokens
from connectors.graph.budgets import Budgets
from connectors.graph.client import LARGEST_BODY_BYTES, GraphClient, HttpOptions, Manners
from connectors.graph.network import Network
from connectors.graph.pacing import BudgetPacing
from connectors.graph.throttle import Governor
from connectors.graph.virtual_run import Phase
from connectors.options import ConnectorOptions
from connectors.registry import build
from connectors.sign_in import issuer_for
from pipeline.directory import FirstPermitted
from pipeline.memory import Memory
from pipeline.model import Principal, RunKind
from pipeline.ports import Blocking, Connector, Fence, OnFence, Preparation, Source
from pipeline.progress import Progress, Usage
from pipeline.protection import asked_for
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import (
    DatasetRules,
)
from pipeline.scope import Scope, Wanted

BODY_SHARE = 8  # of the memory limit: a larger answer is refused, and asked for with fewer items
LEAST_OF_A_RUN = 0.05  # of every budget, and one slot of each mailbox, beside a backfill that was given everything


@dataclass(frozen=True, slots=True)
class DirectoryConnector:
    """The directory datasets, each read with the first application that may."""

    sources: Sequence[Source]
    name: str = DIRECTORY

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        del users, saved
        return Preparation()


@asynccontextmanager
async def clients_of(
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


def connectors_of(
    settings: Settings,
    names: Sequence[ConnectorName],
    *,
    clients: Mapping[EffectiveAuth, GraphClient],
    rules: Mapping[str, DatasetRules],
    scope: Scope,
) -> list[Connector]:
    """The directory and the chosen connectors."""
    select = {dataset: asked_for(rule_set, settings.privacy.profile) for dataset, rule_set in rules.items()}
    options = _connector_options(settings, scope)
    directories = [build(DIRECTORY, client=client, select=select, options=options) for client in clients.values()]
    own = [
        build(name, client=clients[settings.effective_auth(name)], select=select, options=options)
        for name in names
        if name != DIRECTORY
    ]
    return [_directory(directories, groups=settings.privacy.groups), *own]


def wanted_of(settings: Settings) -> Wanted:
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
    return BudgetPacing(budgets_of(limits, kind), lanes=limits.mailboxes_in_flight * limits.per_mailbox_in_flight)


def simulated_run(limits: LimitSettings, period: Period, *, workers: int, breadth: Breadth) -> Sequence[Phase]:
    """A run over the assumed tenant, under the budgets that a command of its kind would have."""
    kind = RunKind.BACKFILL if period.is_backfill else RunKind.RUN
    return simulated(
        period,
        budgets=budgets_of(limits, kind),
        workers=workers,
        principals_in_flight=limits.mailboxes_in_flight,
        breadth=breadth,
    )


def budgets_of(limits: LimitSettings, kind: RunKind, given: Budgets | None = None) -> Budgets:
    budgets = replace(given or Budgets(), per_mailbox_in_flight=limits.per_mailbox_in_flight)
    return budgets.share(backfill_share(limits)) if kind is RunKind.BACKFILL else budgets


def backfill_share(limits: LimitSettings) -> float:
    """What a backfill takes of every budget; something is always left for the nightly run."""
    return min(limits.backfill_share, 1 - LEAST_OF_A_RUN)


def named_by_pseudonym(pseudonymizer: Pseudonymizer, *listeners: OnFence) -> OnFence:
    """Nobody beyond the connectors learns whose mailbox or chat waits."""

    def tell(fence: Fence) -> None:
        named = replace(fence, principal=pseudonymizer.token(fence.principal) if fence.principal else None)
        for listener in listeners:
            listener(named)

    return tell


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
    issuer = issuer_for(auth, settings.tenant, reader=reader, network=network)
    return GraphClient(
        graph=settings.tenant.graph_url,
        tokens=Tokens(issuer, clock=manners.clock),
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


def _directory(candidates: Sequence[Connector], *, groups: bool) -> DirectoryConnector:
    by_dataset: dict[str, list[Source]] = {}
    for candidate in candidates:
        for source in candidate.sources:
            if groups or source.dataset not in GROUP_DATASETS:
                by_dataset.setdefault(source.dataset, []).append(source)
    return DirectoryConnector([FirstPermitted(sources) for sources in by_dataset.values()])


def _usage(clients: Collection[GraphClient], governor: Governor) -> Usage:
    """What all applications together asked of Graph."""
    answers: Counter[tuple[str, str]] = Counter()
    for client in clients:
        answers.update(client.counters.answers)
    return Usage(answers, sum(client.counters.bytes for client in clients), governor.waited_s)

"""`run`, `backfill` and `plan`: from settings to an exit code, with signals and the deadline turned into a stop."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from config.instants import parse_duration, parse_instant
from config.model import CONNECTOR_NAMES, ConnectorName, Settings
from config.secrets import SecretReader
from pipeline import process
from pipeline.access import pacing_of
from pipeline.app import equip, utc_now
from pipeline.cli.console import Globals, out, quiet_pipe
from pipeline.cli.display import live_progress
from pipeline.cli.engine import Place, open_engine, parse_engine
from pipeline.cli.forecast import print_forecast
from pipeline.cli.settings import load, settings_file
from pipeline.cli.summary import print_outcomes
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit, exit_of_error, exit_of_outcomes
from pipeline.forecast import Forecast, forecast
from pipeline.history import last_success
from pipeline.metrics.publish import metrics_published
from pipeline.model import RunKind
from pipeline.progress import Progress
from pipeline.run import Outcome, Request, export
from pipeline.signals import signals_heeded
from pipeline.telemetry import Event, Log
from pipeline.versions import tool_version
from pipeline.workers.coordinator import Engine

_T = TypeVar("_T")


def run(
    options: Globals,
    *,
    until: str | None,
    connectors: Sequence[str],
    deadline: str | None,
    dry_run: bool,
    accept_new_pseudonyms: bool,
    engine: str | None,
) -> Exit:
    settings, reader = load(options)
    arguments = _Arguments()
    request = Request(
        kind=RunKind.RUN,
        until=arguments.instant("--until", until),
        accept_new_pseudonyms=accept_new_pseudonyms,
    )
    names = arguments.connectors(connectors, settings)
    limit = arguments.duration("--deadline", deadline)
    place = arguments.engine(engine)
    arguments.raise_faults()
    return _export(options, settings, reader, request, names, limit, dry_run=dry_run, place=place)


def backfill(
    options: Globals,
    *,
    since: str,
    until: str,
    connectors: Sequence[str],
    deadline: str | None,
    dry_run: bool,
    accept_new_pseudonyms: bool,
    engine: str | None,
) -> Exit:
    settings, reader = load(options)
    arguments = _Arguments()
    start, end = arguments.range(since, until)
    request = Request(kind=RunKind.BACKFILL, since=start, until=end, accept_new_pseudonyms=accept_new_pseudonyms)
    names = arguments.connectors(connectors, settings)
    limit = arguments.duration("--deadline", deadline)
    place = arguments.engine(engine)
    arguments.raise_faults()
    return _export(options, settings, reader, request, names, limit, dry_run=dry_run, place=place)


def plan(options: Globals, *, since: str | None, until: str | None) -> Exit:
    """The estimate of `--dry-run`: of a backfill where a range is given, else of the next run."""
    settings, reader = load(options)
    arguments = _Arguments()
    if (since is None) != (until is None):
        arguments.faults.append("--from and --to: a range needs both; without either the next run is estimated")
    start, end = arguments.range(since, until)
    arguments.raise_faults()
    kind = RunKind.RUN if start is None else RunKind.BACKFILL
    request = Request(kind=kind, since=start, until=end)
    return _export(options, settings, reader, request, (), None, dry_run=True)


class _Arguments:
    """Parses option values and collects every fault, so that all are told at once."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def instant(self, name: str, text: str | None) -> datetime | None:
        return self._parse(name, text, parse_instant)

    def range(self, since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
        start, end = self.instant("--from", since), self.instant("--to", until)
        if start is not None and end is not None and start >= end:
            self.faults.append("--to: the range [from, to) is empty: --to has to be after --from")
        if start is not None and start >= utc_now():
            self.faults.append("--from: lies in the future: there is nothing to export yet")
        return start, end

    def duration(self, name: str, text: str | None) -> timedelta | None:
        return self._parse(name, text, parse_duration)

    def engine(self, text: str | None) -> Place | None:
        return self._parse("--engine", text, parse_engine)

    def connectors(self, names: Sequence[str], settings: Settings) -> list[ConnectorName]:
        chosen = [known for known in CONNECTOR_NAMES if known in names]
        for name in names:
            if name not in settings.connectors.names:
                configured = ", ".join(settings.connectors.names)
                self.faults.append(f"--connector: {name} is not configured; configured are: {configured}")
        return chosen

    def raise_faults(self) -> None:
        if self.faults:
            raise ConfigurationError(*self.faults)

    def _parse(self, name: str, text: str | None, parse: Callable[[str], _T]) -> _T | None:
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.faults.append(f"{name}: {error}")
            return None


def _export(
    options: Globals,
    settings: Settings,
    reader: SecretReader,
    request: Request,
    connectors: Sequence[ConnectorName],
    deadline: timedelta | None,
    *,
    dry_run: bool,
    place: Place | None = None,
) -> Exit:
    log = options.logger()
    progress = Progress(kind=request.kind)
    workers = open_engine(None if dry_run else place, settings_file=settings_file(options))
    work = _work(
        settings, reader, request, connectors, deadline, log=log, progress=progress, dry_run=dry_run, workers=workers
    )
    with live_progress(progress, shown=options.show_progress), _what_a_refusal_leaves(request.kind):
        done = asyncio.run(work)
    with quiet_pipe():
        if isinstance(done, Forecast):
            print_forecast(out(), done)
            return Exit.COMPLETE
        print_outcomes(out(), done, destination=str(settings.destination), progress=progress)
        if any(outcome.manifest for outcome in done):
            out().print("what it did, as a page: m365-export report --html report.html", soft_wrap=True)
    return exit_of_outcomes(done)


async def _work(
    settings: Settings,
    reader: SecretReader,
    request: Request,
    connectors: Sequence[ConnectorName],
    deadline: timedelta | None,
    *,
    log: Log,
    progress: Progress,
    dry_run: bool,
    workers: AbstractAsyncContextManager[Engine | None],
) -> list[Outcome] | Forecast:
    stop = asyncio.Event()
    equipped = equip(
        settings,
        reader=reader,
        kind=request.kind,
        log=log,
        connectors=connectors,
        stop=stop,
        progress=progress,
    )

    def on_signal() -> None:
        """The first asks for a stop, the second ends the process at once, which is safe too."""
        if stop.is_set():
            os._exit(Exit.INTERRUPTED)
        stop.set()

    with signals_heeded(on_signal), deadline_stops(stop, deadline, log):
        if dry_run:
            async with equipped as equipment:
                return await forecast(equipment, request, pacing=pacing_of(settings, request.kind))
        async with metrics_published(settings.telemetry, progress, log=log, version=tool_version()):
            try:
                async with workers as engine, equipped as equipment:
                    process.loaded()
                    if settings.telemetry.is_asked_for:
                        progress.last_success = await last_success(equipment.state, request.kind)
                    outcomes = await export(equipment, request, engine=engine)
            except BaseException as error:
                progress.exit_code = exit_of_error(error)[0]
                raise
            progress.exit_code = exit_of_outcomes(outcomes)
            return outcomes


@contextmanager
def _what_a_refusal_leaves(kind: RunKind) -> Iterator[None]:
    """Say with a refusal that nothing is lost by it."""
    try:
        yield
    except (Exception, BaseExceptionGroup) as error:
        code, cause = exit_of_error(error)
        if code is Exit.REFUSED:
            cause.add_note(f"What was published so far stays valid. Mend this; the next {kind} continues from there.")
        raise


@contextmanager
def deadline_stops(stop: asyncio.Event, deadline: timedelta | None, log: Log) -> Iterator[None]:
    """Once it has passed, a stop is asked for, as the first signal does."""
    if deadline is None:
        yield
        return

    def on_deadline() -> None:
        log.warning(Event.STOP_REQUESTED, reason="deadline")
        stop.set()

    timer = asyncio.get_running_loop().call_later(deadline.total_seconds(), on_deadline)
    try:
        yield
    finally:
        timer.cancel()

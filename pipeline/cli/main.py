"""All commands, their options and their help."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from connectors.emulator.server import LOOPBACK
from pipeline.cli import demo as demo_command
from pipeline.cli import doctor as doctor_command
from pipeline.cli import emulator as emulator_command
from pipeline.cli import export as export_command
from pipeline.cli import report as report_command
from pipeline.cli import rules as rules_command
from pipeline.cli import sanitize as sanitize_command
from pipeline.cli import schema as schema_command
from pipeline.cli import setup as setup_command
from pipeline.cli import simulate as simulate_command
from pipeline.cli import status as status_command
from pipeline.cli import verify as verify_command
from pipeline.cli.console import Globals, LogLevel, hoist, leave
from pipeline.doctor import Examination
from pipeline.telemetry import LogFormat
from pipeline.versions import versions

app = typer.Typer(
    name="m365-export",
    help="Exports an organisation's Microsoft 365 activity, pseudonymized, as Parquet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Example: m365-export --config prod.yaml --log-format json --log-level warning --no-progress run\n\n"
        "Example: m365-export --version\n\n"
        "Example: m365-export --install-completion"
    ),
)

rules_app = typer.Typer(help="Show the privacy rules at work, or check a rules file.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")

Until = Annotated[
    str | None,
    typer.Option("--until", metavar="INSTANT", help="End of the window, exclusive; now where it is not given."),
]
ConnectorNames = Annotated[
    list[str] | None,
    typer.Option("--connector", metavar="C", help="Only this connector; may be given several times."),
]
Deadline = Annotated[
    str | None,
    typer.Option("--deadline", metavar="DURATION", help="Stop after this time; what is published is kept (exit 5)."),
]
AcceptNewPseudonyms = Annotated[
    bool,
    typer.Option(
        "--accept-new-pseudonyms",
        help="Go on although salt, profile or rules changed: rows will not join with older ones.",
    ),
]
EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="E",
        help="Divide the work among workers: dask://HOST:PORT, or local:N for N processes on this machine.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Estimate what it would take, as `plan` does; export nothing.")]


def main() -> None:
    """Entry point of the `m365-export` command."""
    try:
        app(hoist(sys.argv[1:]))
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the way out: every error gets its exit code
        leave(error)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo("\n".join(versions()))
        raise typer.Exit


@app.callback()
def globals_(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            envvar="M365_EXPORT_CONFIG",
            help="Settings file; else $M365_EXPORT_CONFIG, else ./m365-export.yaml.",
            show_envvar=False,
        ),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="json|text", help="Form of the log lines on stderr.")
    ] = None,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = "info",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress display.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the versions of tool, schemas and rules, and exit.",
        ),
    ] = False,
) -> None:
    """These options go before or after the command."""
    del version
    terminal = sys.stderr.isatty()
    context.obj = Globals(
        config=config,
        log_format=_log_format(log_format, terminal=terminal),
        log_level=_log_level(log_level),
        show_progress=terminal and not no_progress,
    )


def _log_format(text: str | None, *, terminal: bool) -> LogFormat:
    match text:
        case None:
            return "text" if terminal else "json"
        case "json" | "text":
            return text
    raise typer.BadParameter("json or text is expected", param_hint="--log-format")


def _log_level(text: str) -> LogLevel:
    match text.lower():
        case "debug" | "info" | "warning" | "error" as level:
            return level
    raise typer.BadParameter("debug, info, warning or error is expected", param_hint="--log-level")


@app.command()
def demo(
    context: typer.Context,
    users: Annotated[
        int, typer.Option("--users", min=1, max=100_000, metavar="N", help="People in the embedded tenant.")
    ] = 200,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the Parquet goes.")] = Path("demo-export"),
) -> None:
    """Export an embedded tenant and show what came out; needs no account and no network.

    Example: m365-export demo --users 50 --out /tmp/demo
    """
    raise typer.Exit(demo_command.demo(context.obj, users=users, out_dir=out))


@app.command()
def run(
    context: typer.Context,
    until: Until = None,
    connector: ConnectorNames = None,
    deadline: Deadline = None,
    dry_run: DryRun = False,
    accept_new_pseudonyms: AcceptNewPseudonyms = False,
    engine: EngineName = None,
) -> None:
    """Export what is new since the last run; continues an interrupted one.

    Example: m365-export run --deadline 6h

    Example: m365-export run --connector outlook-mail --connector entra-id --dry-run

    Example: m365-export run --engine local:3

    Example: m365-export run --until 2026-03-02T00:00:00Z --accept-new-pseudonyms
    """
    raise typer.Exit(
        export_command.run(
            context.obj,
            until=until,
            connectors=connector or [],
            deadline=deadline,
            dry_run=dry_run,
            accept_new_pseudonyms=accept_new_pseudonyms,
            engine=engine,
        )
    )


@app.command()
def backfill(
    context: typer.Context,
    from_: Annotated[str, typer.Option("--from", metavar="INSTANT", help="Start of the range, inclusive.")],
    to: Annotated[str, typer.Option("--to", metavar="INSTANT", help="End of the range, exclusive.")],
    connector: ConnectorNames = None,
    deadline: Deadline = None,
    dry_run: DryRun = False,
    accept_new_pseudonyms: AcceptNewPseudonyms = False,
    engine: EngineName = None,
) -> None:
    """Export a range of dates; neither reads nor moves the watermarks of `run`.

    Example: m365-export backfill --from 2026-01-01 --to 2026-04-01 --deadline 12h

    Example: m365-export backfill --from 2026-01-01 --to 2026-02-01 --connector msft-teams --dry-run

    Example: m365-export backfill --from 2025-01-01 --to 2026-01-01 --engine dask://scheduler:8786

    Example: m365-export backfill --from 2026-01-01 --to 2026-02-01 --accept-new-pseudonyms
    """
    raise typer.Exit(
        export_command.backfill(
            context.obj,
            since=from_,
            until=to,
            connectors=connector or [],
            deadline=deadline,
            dry_run=dry_run,
            accept_new_pseudonyms=accept_new_pseudonyms,
            engine=engine,
        )
    )


@app.command()
def plan(
    context: typer.Context,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="INSTANT", help="Start of a backfill's range, inclusive.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="INSTANT", help="End of the range, exclusive.")] = None,
    simulate: Annotated[
        bool,
        typer.Option("--simulate", help="Of an assumed tenant of 100,000 mailboxes instead; needs none, asks nobody."),
    ] = False,
) -> None:
    """Estimate units, requests, hours, rows and bytes of a backfill, or of the next run; writes nothing.

    Lists the directory and samples the rest with at most 2 % of the requests that the run itself would make (at
    least 50, at most 2,000).

    Example: m365-export plan --from 2026-01-01 --to 2026-04-01

    Example: m365-export plan --simulate
    """
    if simulate:
        if from_ is not None or to is not None:
            raise typer.BadParameter("has a night and a year of its own: leave the range out", param_hint="--simulate")
        raise typer.Exit(simulate_command.simulate(context.obj))
    raise typer.Exit(export_command.plan(context.obj, since=from_, until=to))


@app.command()
def status(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the runs at work, and what they wait for, until they end.")
    ] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove from the state what nothing refers to, and say what that was.")
    ] = False,
) -> None:
    """Show the last runs, and how far each dataset lags behind.

    Example: m365-export status --watch

    Example: m365-export status --clean
    """
    if clean and watch:
        raise typer.BadParameter("goes without --watch", param_hint="--clean")
    raise typer.Exit(status_command.clean(context.obj) if clean else status_command.status(context.obj, watch=watch))


@app.command()
def verify(
    context: typer.Context,
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN_ID]", help="The last sealed run by default.")] = None,
) -> None:
    """Read a run's parts again and compare them with its manifest; the right to read the destination is enough.

    Exit 0: everything is as the manifest says. Exit 4: it is not, with a line for each difference.

    Example: m365-export verify 20261119T020000Z-1f3a
    """
    raise typer.Exit(verify_command.verify(context.obj, run_id=run_id))


@app.command()
def report(
    context: typer.Context,
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN_ID]", help="A run that `status` lists; the last one otherwise.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a self-contained page instead.")
    ] = None,
) -> None:
    """Say what a run did: outcome, rows against the last weeks, what was left out and why, what took time.

    Example: m365-export report --html report.html
    """
    raise typer.Exit(report_command.report(context.obj, run_id=run_id, html=html))


@app.command()
def doctor(
    context: typer.Context,
    form: Annotated[str, typer.Option("--format", metavar="table|json", help="Form of the findings.")] = "table",
    probe_allowed: Annotated[
        str | None,
        typer.Option("--probe-allowed", metavar="USER", help="A user whose mailbox has to be readable."),
    ] = None,
    probe_denied: Annotated[
        str | None,
        typer.Option("--probe-denied", metavar="USER", help="A user whose mailbox must not be readable."),
    ] = None,
    expect_salt: Annotated[
        str | None,
        typer.Option("--expect-salt", metavar="FINGERPRINT", help="What the proxy's health check says of its salt."),
    ] = None,
) -> None:
    """Try everything a run depends on, and say how to mend what is wrong.

    Example: m365-export doctor --probe-allowed someone@example.com --probe-denied chief@example.com

    Example: m365-export doctor --format json --expect-salt 0a1b2c3d
    """
    examination = Examination(probe_allowed=probe_allowed, probe_denied=probe_denied, expected_salt=expect_salt)
    raise typer.Exit(doctor_command.doctor(context.obj, form=form, examination=examination))


@app.command()
def setup(
    context: typer.Context,
    form: Annotated[
        str, typer.Option("--format", metavar="markdown|azure-cli|powershell|terraform", help="Form of the answer.")
    ] = "markdown",
) -> None:
    """Print what the Microsoft administrators have to do for these settings.

    Example: m365-export setup --format azure-cli > setup.sh
    """
    raise typer.Exit(setup_command.setup(context.obj, form=form))


@app.command()
def sanitize(
    context: typer.Context,
    path: Annotated[str, typer.Option("--path", metavar="GRAPH_PATH", help="Where the answer was read from.")],
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="A file in Psoxy's grammar; else the built-in rules.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="P", help="Another profile than the configured one.")
    ] = None,
) -> None:
    """Sanitize one Graph answer, or one object, from stdin to stdout; nothing is read, nothing stored.

    Example: m365-export sanitize --path /v1.0/users < answer.json

    Example: m365-export sanitize --path /v1.0/users --rules rules.yaml --profile psoxy < answer.json
    """
    raise typer.Exit(sanitize_command.sanitize(context.obj, path=path, rules_file=rules, profile=profile))


@rules_app.command("show")
def rules_show(
    context: typer.Context,
    form: Annotated[str, typer.Option("--format", metavar="table|json", help="Form of the list.")] = "table",
) -> None:
    """List what becomes of every field under the configured profile and options, and why.

    Example: m365-export rules show --format json
    """
    raise typer.Exit(rules_command.show(context.obj, form=form))


@rules_app.command("check")
def rules_check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A rules file in Psoxy's grammar.")],
) -> None:
    """Say everything that is wrong with a rules file, with its lines (exit 2), and what it will not do here.

    Example: m365-export rules check rules.yaml
    """
    del context
    raise typer.Exit(rules_command.check(file))


@app.command()
def schema(
    context: typer.Context,
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATASET]", help="Its columns; else the list of datasets.")
    ] = None,
) -> None:
    """List the columns of a dataset: type, treatment, why; without a name, the datasets.

    Example: m365-export schema mail_messages
    """
    raise typer.Exit(schema_command.schema(context.obj, dataset=dataset))


@app.command()
def emulator(
    context: typer.Context,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="NAME",
            help="The name clients know it by; any but the loopback's own is served on every interface.",
        ),
    ] = LOOPBACK,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="P", help="0: a free one.")] = 8443,
    users: Annotated[int, typer.Option("--users", min=1, metavar="N", help="People in the tenant.")] = 200,
    faults: Annotated[
        Path | None, typer.Option("--faults", metavar="FILE", help="A script of faults, as YAML.")
    ] = None,
    now: Annotated[str | None, typer.Option("--now", metavar="INSTANT", help="Freeze the tenant's clock here.")] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", metavar="FILE", help="Where to write the certificate of its CA."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Another seed is another tenant.")] = 1,
) -> None:
    """Run a Microsoft 365 tenant on localhost, to rehearse settings with.

    Example: m365-export emulator --users 50 --port 8443 --ca-file /tmp/emulator-ca.pem

    Example: m365-export emulator --faults faults.yaml --now 2026-03-02 --seed 2

    Example: m365-export emulator --host emulator.internal
    """
    raise typer.Exit(
        emulator_command.emulator(
            context.obj, host=host, port=port, users=users, faults=faults, now=now, ca_file=ca_file, seed=seed
        )
    )

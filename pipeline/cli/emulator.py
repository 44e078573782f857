"""`emulator`: a tenant on localhost, and the settings file that reads it."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

from config.instants import parse_instant
from connectors.emulator import Emulator, Faults, Tenant, load_faults, serve
from pipeline.app import utc_now
from pipeline.cli.console import Globals, out
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit
from pipeline.signals import signals_heeded

HISTORY = timedelta(days=60)
EXPORT = "emulator-export"  # a folder where the emulator was started; only named, the exporter makes it

_SETTINGS = """\
# Settings that read this tenant. The secret is in M365_EXPORT_CLIENT_SECRET, the salt in M365_EXPORT_SALT:
#   export M365_EXPORT_CLIENT_SECRET='{secret}'
#   export M365_EXPORT_SALT='any-text-of-16-or-more-characters'
tenant: {{id: {tenant}, authority: '{url}', graph: '{url}', ca_file: '{ca_file}'}}
auth: {{method: client-secret, client_id: {client}, client_secret: 'env:M365_EXPORT_CLIENT_SECRET'}}
connectors: {{entra-id: {{}}, outlook-mail: {{}}, outlook-calendar: {{}}, msft-teams: {{}}}}
privacy: {{salt: 'env:M365_EXPORT_SALT'}}
destination: 'file://{folder}/data'
state: 'file://{folder}/state'
"""


def emulator(
    options: Globals,
    *,
    host: str,
    port: int,
    users: int,
    faults: Path | None,
    now: str | None,
    ca_file: Path | None,
    seed: int,
) -> Exit:
    del options
    instant = utc_now() if now is None else _instant(now)
    tenant = Tenant(seed=seed, users=users, now=instant, history=HISTORY, ticking=now is None)
    script = None if faults is None else load_faults(faults)
    return asyncio.run(_serve(tenant, host=host, port=port, faults=script, ca_file=ca_file))


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise ConfigurationError(f"--now: {error}") from None


async def _serve(tenant: Tenant, *, host: str, port: int, faults: Faults | None, ca_file: Path | None) -> Exit:
    stop = asyncio.Event()

    def ready(served: Emulator) -> None:
        out().print(
            _SETTINGS.format(
                url=served.url,
                ca_file=served.ca_file,
                tenant=served.tenant_id,
                client=served.client_id,
                secret=served.client_secret,
                folder=Path.cwd() / EXPORT,
            ),
            markup=False,
            highlight=False,
        )

    with signals_heeded(stop.set):
        serving = asyncio.ensure_future(
            serve(tenant, host=host, port=port, faults=faults, ca_file=ca_file, ready=ready)
        )
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if serving.done():
            serving.result()
        serving.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)
    return Exit.COMPLETE

"""Whether each application gets a token, how, for how long, and whether it is a token for what we want."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from config.auth import EffectiveAuth
from config.clouds import CLOUDS
from config.instants import format_duration, format_instant
from config.model import ConnectorName, Tenant
from config.secrets import SecretReader
from connectors.doctor.claims import Claims, read_claims
from connectors.graph.clock import GraphClock
from connectors.graph.issuer import Issued, NotIssued
from connectors.graph.network import Network
from connectors.sign_in import issuer_for
from pipeline.errors import ConfigurationError
from pipeline.findings import Finding, error, note, ok

SIGN_IN_DEADLINE_S = 90.0  # discovery, metadata service and token request, each with a timeout of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One way to sign in, and the connectors that use it. `area` names them in findings."""

    connectors: tuple[ConnectorName, ...]
    auth: EffectiveAuth
    area: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """What became of it: a token and what it says of itself, or findings why there is none."""

    application: Application
    token: str | None = field(default=None, repr=False)
    claims: Claims | None = None
    findings: tuple[Finding, ...] = ()


async def sign_in(
    application: Application, tenant: Tenant, *, reader: SecretReader, network: Network, clock: GraphClock
) -> SignedIn:
    """Ask once for a token; a refusal becomes a finding."""
    area = application.area

    def issue() -> Issued:
        return issuer_for(application.auth, tenant, reader=reader, network=network).issue()

    try:
        async with asyncio.timeout(SIGN_IN_DEADLINE_S):
            issued = await asyncio.to_thread(issue)
    except NotIssued as failure:
        refusal = failure.refusal
        code = f" ({refusal.code})" if refusal.code else ""
        patience = timedelta(seconds=failure.patience_s)
        is_change = patience and (refusal.code or "").startswith("AADSTS")
        wait = f"; right after a change it may pass by itself within {format_duration(patience)}" if is_change else ""
        finding = error(area, f"no token: {refusal.what}{code}", refusal.remedy + wait)
        return SignedIn(application=application, findings=(finding,))
    except ConfigurationError as fault:
        finding = error(area, f"no token: {fault}", "Complete auth in the settings")
        return SignedIn(application=application, findings=(finding,))
    except TimeoutError:
        what = "no token: the token service, or the machine's identity service, does not answer in time"
        finding = error(area, what, "Check the firewall and HTTPS_PROXY")
        return SignedIn(application=application, findings=(finding,))
    claims = read_claims(issued.value)
    lifetime = timedelta(minutes=round(issued.lifetime_s / 60))
    until = format_instant((clock.now() + timedelta(seconds=issued.lifetime_s)).replace(microsecond=0))
    got = ok(area, f"token obtained: {_how(application.auth)}, valid until {until} ({format_duration(lifetime)})")
    return SignedIn(
        application=application,
        token=issued.value,
        claims=claims,
        findings=(got, *_addressed(application, tenant, claims)),
    )


def _how(auth: EffectiveAuth) -> str:
    kind = f" ({auth.assertion.kind})" if auth.method == "federated" and auth.assertion else ""
    return f"{auth.method}{kind}"


def _addressed(application: Application, tenant: Tenant, claims: Claims | None) -> Iterator[Finding]:
    """Whether the token is for this tenant, this application and this cloud's Graph."""
    area = application.area
    if claims is None:
        yield note(area, "the token cannot be read, as Microsoft allows itself: its roles cannot be told")
        return
    if claims.tenant_id and claims.tenant_id.lower() != tenant.id:
        yield error(area, "the token is for another tenant", "Correct tenant.id, or the identity the exporter runs as")
    client_id = application.auth.client_id
    if claims.client_id and client_id and claims.client_id.lower() != client_id.lower():
        yield error(area, "the token is for another application", "Correct auth.client_id")
    host = urlsplit(claims.audience).hostname
    others = {cloud.graph_host: cloud.name for cloud in CLOUDS.values() if cloud.graph_host != _graph_host(tenant)}
    if host in others:
        yield error(area, "the token is for the Graph of another cloud", f"Set tenant.cloud to {others[host]}")


def _graph_host(tenant: Tenant) -> str:
    return CLOUDS[tenant.cloud].graph_host

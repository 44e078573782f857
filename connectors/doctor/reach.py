"""Whether token service and Graph can be reached, are of the same cloud, and agree with us about the time.

https://learn.microsoft.com/graph/deployments (checked 2026-11)
https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc (checked 2026-11)
"""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
from yarl import URL

from config.clouds import CLOUDS
from config.instants import format_duration
from config.model import Tenant
from connectors.doctor.questions import Answer, Questioner
from connectors.graph.aadsts import codes_in, refused
from connectors.graph.errors import UNTRUSTED
from connectors.graph.links import Links
from pipeline.findings import Finding, error, note, ok, warning

REACH, CLOUD, CLOCK = "reachability", "cloud", "clock"

# Entra takes assertions that are five minutes off; S3 takes signatures that are fifteen minutes off.
# https://learn.microsoft.com/entra/identity-platform/certificate-credentials (checked 2026-11)
CLOCK_ERROR = timedelta(minutes=5)
CLOCK_WARNING = timedelta(minutes=1)

_NO_ANSWER = {
    UNTRUSTED: (
        "its TLS certificate is not trusted",
        "Name the certificate authority of the proxy in between in tenant.ca_file",
    ),
    "proxy_failed": ("the proxy does not let us through", "Check HTTPS_PROXY and NO_PROXY, and the proxy's own rules"),
    "timed_out": ("it does not answer in time", "Check the firewall and HTTPS_PROXY"),
    "redirected": (
        "it redirects us, which Microsoft never does",
        "Look for a captive portal or a proxy that wants a sign-in",
    ),
}
_OTHERWISE = ("no connection comes about", "Check DNS, the firewall and HTTPS_PROXY")


class _Discovery(msgspec.Struct):
    """What Entra's discovery document says of the tenant's cloud; it may be silent."""

    msgraph_host: str | None = None


async def examine_reach(tenant: Tenant, questioner: Questioner) -> list[Finding]:
    """Token service, Graph, their cloud, and the clock."""
    discovery = await questioner.ask(URL(f"{tenant.authority_url}/v2.0/.well-known/openid-configuration"))
    # Without a token: a refusal is all that is expected, and an answer enough.
    graph = await questioner.ask(Links(tenant.graph_url).first("users", {"$top": "1", "$select": "id"}))
    return [
        _reached("the token service", discovery),
        *_tenant(discovery),
        _reached("Microsoft Graph", graph),
        *_cloud(tenant, discovery),
        _clock(graph.ahead if graph.ahead is not None else discovery.ahead),
    ]


def _reached(what: str, answer: Answer) -> Finding:
    word = answer.refusal.code if answer.refusal else ""
    if answer.was_reached and word not in _NO_ANSWER:
        return ok(REACH, f"{what} answers")
    why, remedy = _NO_ANSWER.get(word, _OTHERWISE)
    return error(REACH, f"{what} cannot be reached: {why}", remedy)


def _tenant(discovery: Answer) -> Iterator[Finding]:
    codes = codes_in(discovery.body.decode("utf-8", "replace")) if discovery.refusal else ()
    if codes:
        refusal, _ = refused(codes[0])
        yield error(CLOUD, f"{refusal.what} ({refusal.code})", refusal.remedy)


def _cloud(tenant: Tenant, discovery: Answer) -> Iterator[Finding]:
    cloud = CLOUDS[tenant.cloud]
    if discovery.refusal is not None:
        return
    try:
        stated = msgspec.json.decode(discovery.body, type=_Discovery).msgraph_host
    except msgspec.DecodeError:
        stated = None
    if stated is None or tenant.graph is not None:
        yield note(CLOUD, f"tenant.cloud is {cloud.name}; the token service does not say which one the tenant is in")
    elif stated == cloud.graph_host:
        yield ok(CLOUD, f"the tenant is in the cloud {cloud.name}")
    else:
        theirs = next((other.name for other in CLOUDS.values() if other.graph_host == stated), None)
        remedy = f"Set tenant.cloud to {theirs}" if theirs else "Set tenant.cloud to the tenant's own"
        yield error(CLOUD, f"the tenant is not in the cloud {cloud.name}, whose tokens are worth nothing there", remedy)


def _clock(ahead: timedelta | None) -> Finding:
    if ahead is None:
        return note(CLOCK, "the clock cannot be compared: nobody told us the time")
    off = timedelta(seconds=round(abs(ahead).total_seconds()))
    if off < CLOCK_WARNING:
        return ok(CLOCK, "the clock agrees with Microsoft's")
    direction = "ahead of" if ahead > timedelta(0) else "behind"
    what = f"the clock of this machine is {format_duration(off)} {direction} Microsoft's"
    remedy = "Set the clock (chrony, systemd-timesyncd or the hypervisor's): sign-in and windows depend on it"
    return error(CLOCK, what, remedy) if off >= CLOCK_ERROR else warning(CLOCK, what, remedy)

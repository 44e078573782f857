"""The doctor's single checks: what each concludes from what it was answered."""

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest
from yarl import URL

from config.model import Tenant
from connectors.doctor import reach
from connectors.doctor.claims import read_claims
from connectors.doctor.questions import Answer, Questioner
from connectors.graph.clock import GraphClock
from connectors.graph.errors import classify, fault
from connectors.graph.network import Network
from pipeline.findings import Level
from tests.https_server import Asked, Told, served

TENANT_ID = "11111111-2222-3333-4444-555555555555"
TENANT = Tenant(id=TENANT_ID)


def jwt(payload: object) -> str:
    parts = ({"alg": "RS256"}, payload)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + ".s"


def test_claims_are_read_from_a_token_that_can_be_read() -> None:
    """Roles, audience, tenant and application of a JSON Web Token."""
    claims = read_claims(jwt({"roles": ["Mail.Read"], "aud": "https://graph.microsoft.com", "tid": "t", "appid": "a"}))
    assert claims is not None
    assert (claims.roles, claims.audience, claims.tenant_id, claims.client_id) == (
        frozenset({"Mail.Read"}),
        "https://graph.microsoft.com",
        "t",
        "a",
    )


def test_a_token_without_roles_has_none() -> None:
    """An application without consent gets a token without the claim."""
    claims = read_claims(jwt({"aud": "x"}))
    assert claims is not None
    assert claims.roles == frozenset()


@pytest.mark.parametrize("token", ["", "opaque", "a.b", "a.!!!.c", "a.bm90IGpzb24.c", "a.WzFd.c", jwt({"roles": 7})])
def test_an_opaque_token_is_no_error(token: str) -> None:
    """Microsoft may issue tokens that cannot be read: they tell nothing, and nothing breaks."""
    assert read_claims(token) is None


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (timedelta(seconds=59), Level.OK, "agrees"),
        (timedelta(seconds=-59), Level.OK, "agrees"),
        (timedelta(minutes=1), Level.WARNING, "1m ahead of"),
        (timedelta(minutes=-4, seconds=-59), Level.WARNING, "299s behind"),
        (timedelta(minutes=5), Level.ERROR, "5m ahead of"),
        (timedelta(minutes=-10), Level.ERROR, "10m behind"),
        (None, Level.NOTE, "cannot be compared"),
    ],
)
def test_the_clock_is_judged_by_its_distance(ahead: timedelta | None, level: Level, words: str) -> None:
    """Below a minute is fine, from five minutes on sign-in fails, and silence is no verdict."""
    finding = reach._clock(ahead)
    assert finding.level is level
    assert words in finding.what


@pytest.mark.parametrize(
    ("host", "level", "words"),
    [
        ("graph.microsoft.com", Level.OK, "is in the cloud global"),
        ("dod-graph.microsoft.us", Level.ERROR, "Set tenant.cloud to us-gov-l5"),
        ("graph.somewhere.example", Level.ERROR, "Set tenant.cloud to the tenant's own"),
    ],
)
def test_the_cloud_is_compared_with_what_the_token_service_says(host: str, level: Level, words: str) -> None:
    """The discovery document names the tenant's Graph host: another one names the cloud to set."""
    body = json.dumps({"msgraph_host": host}).encode()
    (finding,) = reach._cloud(TENANT, Answer(refusal=None, body=body))
    assert finding.level is level
    assert words in f"{finding.what} {finding.remedy}"


@pytest.mark.parametrize("body", [b"{}", b"<html>", b'{"msgraph_host": 7}'])
def test_a_token_service_that_does_not_say_its_cloud_is_no_error(body: bytes) -> None:
    """Where the document is silent, or is none, the cloud cannot be told."""
    (finding,) = reach._cloud(TENANT, Answer(refusal=None, body=body))
    assert finding.level is Level.NOTE


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("untrusted_certificate", "tenant.ca_file"),
        ("proxy_failed", "NO_PROXY"),
        ("timed_out", "firewall"),
        ("connection_failed", "DNS"),
        ("redirected", "captive portal"),
    ],
)
def test_each_way_not_to_be_reached_has_its_remedy(word: str, remedy: str) -> None:
    """The finding tells certificate, proxy, silence, name and portal apart."""
    finding = reach._reached("Microsoft Graph", Answer(refusal=fault(word)))
    assert finding.level is Level.ERROR
    assert remedy in finding.remedy


def test_a_refusal_is_an_answer() -> None:
    """401 without a token is what Graph has to say: it is reachable."""
    assert reach._reached("Microsoft Graph", Answer(refusal=classify(401, b""))).level is Level.OK


async def test_a_question_reads_the_servers_time_and_sends_the_token_once(tmp_path: Path) -> None:
    """The distance of the clocks comes from the Date header, half of the way allowed for; nothing is repeated."""

    def answer(_: Asked) -> Told:
        return Told(status=503, body={"error": {"code": "ServiceUnavailable"}}, headers={"Retry-After": "60"})

    with served(answer, folder=tmp_path, tls=False) as server:
        async with Questioner(Network(), clock=GraphClock()) as questioner:
            reply = await questioner.ask(URL(f"{server.url}/v1.0/users"), token="secret-token")
    assert reply.refusal is not None
    assert reply.refusal.status == 503
    assert reply.was_reached
    assert reply.ahead is not None
    assert abs(reply.ahead) < timedelta(seconds=30)
    assert [request.headers["authorization"] for request in server.asked] == ["Bearer secret-token"]
    assert "secret-token" not in repr(reply)


async def test_nobody_at_the_address_is_a_refusal_without_a_status() -> None:
    """A closed port is told apart from an answer."""
    async with Questioner(Network(), clock=GraphClock()) as questioner:
        reply = await questioner.ask(URL("http://127.0.0.1:9/"))
    assert not reply.was_reached
    assert reply.ahead is None

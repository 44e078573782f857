"""The emulator's token service, asked by Microsoft's own library over real HTTPS."""

import asyncio
import ssl
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from connectors.emulator import Body, Emulator, Fault, Faults, Tenant, jose
from connectors.emulator.tokens import claims_of
from tests.contract.raw_client import SCOPE, connected, msal_result

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(Tenant(users=5, now=NOW, history=timedelta(days=2))) as running:
        yield running


def certificate(pem: str) -> dict[str, str]:
    """Key and certificate as MSAL wants them."""
    start = pem.index("-----BEGIN CERTIFICATE")
    return {"private_key": pem[:start], "public_certificate": pem[start:]}


async def ask(emulator: Emulator, credential: Any, **more: Any) -> dict[str, Any]:
    return await asyncio.to_thread(msal_result, emulator, credential, **more)


async def test_right_secret_gives_a_token_with_the_app_roles(emulator: Emulator) -> None:
    """The token carries the roles that were consented to, and its lifetime."""
    result = await ask(emulator, emulator.client_secret)

    assert result["token_type"] == "Bearer"
    assert result["expires_in"] == 3599
    assert claims_of(result["access_token"])["roles"] == emulator.app.roles


@pytest.mark.parametrize(
    ("secret", "code"), [("not-the-secret", 7000215), (None, 7000222)], ids=["wrong secret", "expired secret"]
)
async def test_wrong_secret_is_refused(emulator: Emulator, secret: str | None, code: int) -> None:
    """A wrong and an expired secret have their own AADSTS numbers."""
    result = await ask(emulator, secret or emulator.app.expired_secret)

    assert result["error"] == "invalid_client"
    assert result["error_codes"] == [code]


async def test_unknown_app_and_scope_are_refused(emulator: Emulator) -> None:
    """An unknown client id is 700016, a scope without a resource of Graph's 70011, another cloud's 500011."""
    unknown = await ask(emulator, "x", client_id="00000000-0000-4000-8000-000000000000")
    scope = await ask(emulator, emulator.client_secret, scope="https://elsewhere.example/.default")
    cloud = await ask(emulator, emulator.client_secret, scope="https://graph.microsoft.us/.default")

    assert [answer["error_codes"] for answer in (unknown, scope, cloud)] == [[700016], [70011], [500011]]


async def test_unknown_tenant_fails_at_discovery(emulator: Emulator) -> None:
    """A wrong tenant is refused before any token is asked for."""
    with pytest.raises(ValueError, match="tenant"):
        await ask(emulator, emulator.client_secret, tenant="99999999-0000-4000-8000-000000000000")


async def test_registered_certificate_is_accepted_and_another_is_not(emulator: Emulator) -> None:
    """A PS256 assertion of the registered certificate gives a token; that of another app's is 700027."""
    other = emulator.register(roles=())

    accepted = await ask(emulator, certificate(emulator.certificate_pem))
    refused = await ask(emulator, certificate(other.certificate_pem))

    assert "access_token" in accepted
    assert refused["error_codes"] == [700027]


async def test_certificate_assertion_works_once(emulator: Emulator) -> None:
    """Presenting the same assertion again is refused; the older header `x5t` names a certificate as well."""
    app, endpoint = emulator.app, f"{emulator.url}/{emulator.tenant_id}/oauth2/v2.0/token"
    claims = {"iss": app.client_id, "sub": app.client_id, "aud": endpoint, "exp": 4_000_000_000, "jti": "once"}
    thumbprint = urlsafe_b64encode(app.certificate.fingerprint(hashes.SHA1())).decode()
    form = {
        "grant_type": "client_credentials",
        "client_id": app.client_id,
        "scope": SCOPE,
        "client_assertion": jose.sign_with_key(claims, key=app.certificate_key, header={"x5t": thumbprint}),
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    async with connected(emulator) as client:
        async with client.session.post(endpoint, data=form) as response:
            first = await response.json()
        async with client.session.post(endpoint, data=form) as response:
            second = await response.json()

    assert "access_token" in first
    assert "used before" in second["error_description"]


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({}, None),
        ({"iss": "https://issuer.emulator.example/"}, 700211),  # a slash too many
        ({"aud": "api://azureadtokenexchange"}, 700212),  # other letter case
        ({"sub": "system:serviceaccount:exports:default"}, 700213),
        ({"lifetime_s": -10}, 700024),
    ],
    ids=["right", "issuer", "audience", "subject", "expired"],
)
async def test_federated_assertion_is_compared_exactly(
    emulator: Emulator, claims: dict[str, Any], code: int | None
) -> None:
    """Issuer, audience and subject must match to the letter, and the assertion must be fresh."""
    result = await ask(emulator, {"client_assertion": lambda: emulator.federated_assertion(**claims)})

    assert result.get("error_codes") == (None if code is None else [code])


async def test_new_federation_needs_a_while() -> None:
    """Right after the set-up assertions fail with 70021 for some time, as replication takes its time."""
    async with Emulator(Tenant(users=5, now=NOW), assertion_failures=1) as emulator:
        credential = {"client_assertion": emulator.federated_assertion}
        first = await ask(emulator, credential)
        second = await ask(emulator, credential)

    assert first["error_codes"] == [70021]
    assert "access_token" in second


async def test_token_expires_by_the_tenants_clock(emulator: Emulator) -> None:
    """After its lifetime a token is refused with InvalidAuthenticationToken; a new one is accepted."""
    async with connected(emulator) as client:
        assert (await client.get("/users")).status == 200

        emulator.tenant.clock.advance(timedelta(seconds=3600))
        refused = await client.get("/users")
        await client.renew()
        accepted = await client.get("/users")

    assert (refused.status, refused.code) == (401, "InvalidAuthenticationToken")
    assert accepted.status == 200


async def test_no_token_a_revoked_and_a_foreign_one_are_refused(emulator: Emulator) -> None:
    """Without a token, or with one that is worth nothing, Graph answers 401."""
    async with connected(emulator) as client:
        emulator.revoke_tokens()
        revoked = await client.get("/users")
        foreign = await client.get("/users", Authorization="Bearer e30.e30.e30")
        none = await client.get("/users", Authorization="")

    assert (revoked.status, foreign.status, none.status) == (401, 401, 401)


async def test_granted_role_shows_in_new_tokens_only(emulator: Emulator) -> None:
    """Neither consent nor its withdrawal reaches a token that was issued before."""
    app = emulator.register(roles=("Group.Read.All",))
    async with connected(emulator) as client:
        await client.renew(app)
        app.grant("User.Read.All")
        before = await client.get("/users")
        await client.renew(app)
        after = await client.get("/users")
        app.revoke("User.Read.All")
        still = await client.get("/users")
        await client.renew(app)
        gone = await client.get("/users")

    assert (before.status, after.status, still.status, gone.status) == (403, 200, 200, 403)


async def test_token_service_can_be_down() -> None:
    """A scripted 503 without body makes MSAL raise, as the real outage does."""
    faults = Faults([Fault(kind="token", status=503, body=Body.EMPTY, times=1)])
    async with Emulator(Tenant(users=5, now=NOW), faults=faults) as emulator:
        with pytest.raises(Exception, match="503"):
            await ask(emulator, emulator.client_secret)


async def test_a_name_of_its_own_is_in_the_certificate_and_in_the_links() -> None:
    """Served under a name, as in a container, clients that reach it by that name trust it and stay with it."""
    tenant = Tenant(users=3, now=NOW, history=timedelta(days=1))
    async with Emulator(tenant, host="tenant.example") as emulator:
        assert emulator.url == f"https://tenant.example:{emulator.port}"
        trust = ssl.create_default_context(cafile=str(emulator.ca_file))
        _, writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", emulator.port, ssl=trust, server_hostname="tenant.example"), 10
        )
        writer.close()
        await writer.wait_closed()

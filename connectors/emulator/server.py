"""The tenant over HTTPS: token service, Graph, and control endpoints on one port of localhost."""

import asyncio
import ssl
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import trustme
from aiohttp import web

from connectors.emulator import control, jose, wire
from connectors.emulator.apps import ALL_ROLES, FEDERATED_AUDIENCE, AppRegistration
from connectors.emulator.control import Control, ControlError
from connectors.emulator.counters import Counters
from connectors.emulator.errors import GraphError
from connectors.emulator.fault_desk import FaultDesk
from connectors.emulator.faults import Effect, Faults
from connectors.emulator.graph_service import GraphService
from connectors.emulator.tenant import Tenant
from connectors.emulator.throttles import Throttles
from connectors.emulator.tokens import TokenKnobs, TokenRefusal, TokenService, timestamp_now

_VERSIONS = ("v1.0", "beta")

LOOPBACK = "127.0.0.1"
STOP_WITHIN_S = 1.0  # connections still open are cut then


class Emulator:
    """Serves a tenant while the context is open.

    `host` is the name or address that clients use: those of the loopback are served to this machine only, any other
    on every interface, under a certificate for it. `ca_file` names where the throw-away CA's certificate is written;
    left out, it is a temporary file that is removed at the end. `public_url` is where clients find the emulator, if
    something stands before it. `monotonic` is the clock of the throttles.
    """

    def __init__(
        self,
        tenant: Tenant,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        token_lifetime_s: int = 3600,
        refresh_in_s: int | None = None,
        assertion_failures: int = 0,
        faults: Faults | None = None,
        ca_file: Path | None = None,
        public_url: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tenant = tenant
        self.counters = Counters()
        self.faults = faults or Faults()
        self.token_knobs = TokenKnobs(
            lifetime_s=token_lifetime_s, refresh_in_s=refresh_in_s, assertion_failures=assertion_failures
        )
        self.url = ""
        self._host = host
        self._port = port
        self._public_url = public_url
        self._ca_file = ca_file
        self._monotonic = monotonic
        self._tokens = TokenService(
            tenant_id=tenant.id, domain=tenant.domain, clock=tenant.clock, knobs=self.token_knobs
        )
        self._app_count = 0
        self.app = self.register(roles=ALL_ROLES)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="m365-emulator-"))
            if self._ca_file is None:
                self._ca_file = Path(folder) / "ca.pem"
            authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(*dict.fromkeys((self._host, LOOPBACK, "localhost"))).configure_cert(context)
            authority.cert_pem.write_to_path(str(self._ca_file))
            server = web.Server(self._handle, access_log=None)
            runner = web.ServerRunner(server, shutdown_timeout=STOP_WITHIN_S)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, self._interface, self._port, ssl_context=context)
            await site.start()
            self._port = runner.addresses[0][1]
            self.url = self._public_url or f"https://{self._host}:{self._port}"
            self._prepare()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        await self._stack.aclose()

    def _prepare(self) -> None:
        """What depends on the address, which is known only now."""
        self._desk = FaultDesk(self.faults, self.counters)
        self.throttles = Throttles(
            self.counters,
            users=self.tenant.people.count,
            teams_rates=self.tenant.profile.teams_rates,
            app_in_flight=self.tenant.profile.mailboxes_in_flight,
            monotonic=self._monotonic,
        )
        self._graph = GraphService(
            self.tenant,
            base=self.url,
            tokens=self._tokens,
            throttles=self.throttles,
            counters=self.counters,
            desk=self._desk,
        )
        about = {
            "url": self.url,
            "tenant_id": self.tenant_id,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "ca_file": str(self.ca_file),
        }
        self._steering = Control(
            self.tenant, counters=self.counters, faults=self.faults, about=about, release=self.release
        )

    @property
    def _interface(self) -> str:
        if self._host in {LOOPBACK, "localhost"}:
            return self._host
        return "0.0.0.0"  # noqa: S104 - under a name of its own it is there for other machines

    @property
    def port(self) -> int:
        """Where it listens; 0 before it has been started, unless a port was given."""
        return self._port

    @property
    def ca_file(self) -> Path:
        """The PEM file of the CA that a client has to trust."""
        if self._ca_file is None:
            raise RuntimeError("the emulator has not been started")
        return self._ca_file

    @property
    def tenant_id(self) -> str:
        """The tenant's GUID."""
        return self.tenant.id

    @property
    def client_id(self) -> str:
        """The app that has all roles."""
        return self.app.client_id

    @property
    def client_secret(self) -> str:
        """Its secret."""
        return self.app.client_secret

    @property
    def certificate_pem(self) -> str:
        """Its private key and registered certificate, PEM."""
        return self.app.certificate_pem

    def register(self, *, roles: tuple[str, ...]) -> AppRegistration:
        """A further app registration with these roles."""
        app = AppRegistration(
            self.tenant.noise, self._app_count, roles=roles, not_before=self.tenant.clock.now - timedelta(days=365)
        )
        self._app_count += 1
        self._tokens.register(app)
        return app

    def federated_assertion(self, *, app: AppRegistration | None = None, lifetime_s: int = 600, **claims: Any) -> str:
        """A JWT of the external identity provider that is accepted, unless `claims` override its own."""
        app = app or self.app
        now = int(time.time())
        usual = {
            "iss": app.federated_issuer,
            "sub": app.federated_subject,
            "aud": FEDERATED_AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now + lifetime_s,
        }
        return jose.sign_with_key({**usual, **claims}, key=app.federation_key, header={"kid": "emulator"})

    def revoke_tokens(self, *, for_good: bool = False) -> None:
        """All access tokens issued so far stop working; `for_good`: later ones of challenged clients too."""
        self._tokens.revoke_all(for_good=for_good)

    async def until_held(self, count: int) -> None:
        """Returns when so many requests are waiting because of a fault with the effect `hold`."""
        await self._desk.until_held(count)

    def release(self) -> None:
        """Lets requests go on that a fault with the effect `hold` keeps waiting."""
        self._desk.release()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if path.startswith(control.PREFIX):
            return await self._control(request, path.removeprefix(control.PREFIX))
        first, _, rest = path.strip("/").partition("/")
        if first in _VERSIONS:
            return await self._graph.handle(request, version=first, path=rest)
        if path.endswith("/.well-known/openid-configuration"):
            return await self._token_service(request, "discovery", tenant=first)
        if path.endswith("/oauth2/v2.0/token") and request.method == "POST":
            return await self._token_service(request, "token", tenant=first)
        return wire.refusal(GraphError(404, "NotFound", "No such resource."), request)

    async def _control(self, request: web.BaseRequest, name: str) -> web.Response:
        try:
            text = await request.read()
            body = msgspec.json.decode(text) if text else None
            return wire.json_answer(self._steering.answer(request.method, name, body))
        except (ControlError, msgspec.DecodeError) as error:
            return wire.json_answer({"error": str(error)}, status=400)

    async def _token_service(self, request: web.BaseRequest, kind: str, *, tenant: str) -> web.StreamResponse:
        self.counters.requests[kind] += 1
        fault = self._desk.strike(kind=kind, path=request.raw_path)
        if fault is not None and fault.effect is Effect.ANSWER:
            return wire.fault_answer(fault, request)
        await self._desk.wait(fault)
        try:
            if kind == "discovery":
                answer = self._tokens.discovery(tenant, base=self.url)
            else:
                answer = await self._issue(request, tenant)
        except TokenRefusal as refused:
            self.counters.refusals[f"{refused.status} {kind}"] += 1
            return wire.json_answer(refused.body(timestamp=timestamp_now()), status=refused.status)
        return await wire.send(request, wire.json_answer(answer), fault)

    async def _issue(self, request: web.BaseRequest, tenant: str) -> dict[str, Any]:
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        endpoint = f"{self.url}/{tenant}/oauth2/v2.0/token"
        return self._tokens.issue(tenant, form, endpoint=endpoint, authorization=request.headers.get("Authorization"))


async def serve(
    tenant: Tenant,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    faults: Faults | None = None,
    token_lifetime_s: int = 3600,
    ca_file: Path | None = None,
    ready: Callable[[Emulator], None],
) -> None:
    """Serves until cancelled; `ready` is called once requests are answered."""
    async with Emulator(
        tenant, host=host, port=port, faults=faults, token_lifetime_s=token_lifetime_s, ca_file=ca_file
    ) as emulator:
        ready(emulator)
        await asyncio.Event().wait()

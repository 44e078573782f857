"""What happens to a request to Graph: route, token, roles, limits, faults, endpoint, answer."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from typing import Any, TypeVar
from urllib.parse import unquote_plus

from aiohttp import web

from connectors.emulator import batch, wire
from connectors.emulator.call import Call, Page, Service
from connectors.emulator.counters import Counters
from connectors.emulator.directory_api import resource_units
from connectors.emulator.errors import (
    GraphError,
    bad_query,
    claims_demanded,
    corrupt_data,
    directory_denied,
    mailbox_denied,
    not_authenticated,
    teams_denied,
)
from connectors.emulator.fault_desk import FaultDesk
from connectors.emulator.faults import Effect, Fault
from connectors.emulator.novelty import with_new_property
from connectors.emulator.paging import BrokenLink, Links, Place, Round
from connectors.emulator.routes import Route, find_route, route_of
from connectors.emulator.tenant import Tenant
from connectors.emulator.throttles import Throttles
from connectors.emulator.tokens import Grant, TokenService

Sent = TypeVar("Sent", bound=web.StreamResponse)
Send = Callable[[web.Response, Fault | None], Awaitable[Sent]]
"""How an answer leaves: over the wire, or as a part of a batch."""
_FOREIGN_BASE = "https://graph.elsewhere.example"


class GraphService:
    """Answers requests under /v1.0 and /beta. `base` is the scheme, host and port of next links."""

    def __init__(
        self,
        tenant: Tenant,
        *,
        base: str,
        tokens: TokenService,
        throttles: Throttles,
        counters: Counters,
        desk: FaultDesk,
    ) -> None:
        self._tenant = tenant
        self._base = base
        self._tokens = tokens
        self._throttles = throttles
        self._counters = counters
        self._desk = desk
        self._open = 0  # requests that are being answered
        self._links = Links(blake2b(b"%d" % tenant.seed).digest())

    async def handle(self, request: web.BaseRequest, *, version: str, path: str) -> web.StreamResponse:
        """The answer, already sent where a mailbox's slot had to be held until its end."""
        if path.strip("/").lower() == batch.PATH:
            return await self._answer_batch(request, version)

        async def send(response: web.Response, fault: Fault | None) -> web.StreamResponse:
            return await wire.send(request, response, fault)

        return await self._handled(request, version, path, send)

    async def _answer_batch(self, request: web.BaseRequest, version: str) -> web.Response:
        """200 for whatever its requests meet; spoilt answers are not to be had inside a batch."""

        async def unsent(response: web.Response, _: Fault | None) -> web.Response:
            return response

        async def answer(inner: batch.InnerRequest) -> web.Response:
            path = inner.raw_path.partition("?")[0].removeprefix(f"/{version}/")
            return await self._handled(inner, version, path, unsent)

        self._counters.requests["batch"] += 1
        try:
            self._grant(request)
            authorization = request.headers["Authorization"]
            asked = batch.read_batch(await request.read(), version=version, authorization=authorization)
        except GraphError as error:
            self._counters.refusals[f"{error.status} batch"] += 1
            return wire.refusal(error, request)
        return wire.graph_answer(await batch.answer_batch(asked, answer), request, {})

    async def _handled(self, request: wire.Asked, version: str, path: str, send: Send[Sent]) -> Sent | web.Response:
        kind = "unknown"
        self._open += 1
        self._counters.in_flight[self._open] += 1
        try:
            route, keys = find_route(path)
            kind = route.kind
            self._counters.requests[kind] += 1
            if "user" in keys:
                self._counters.users[self._user_id(keys)] += 1
            grant = self._authorized(request, route, keys)
            return await self._admitted(request, version, route, keys, grant, send)
        except GraphError as error:
            self._counters.refusals[f"{error.status} {kind}"] += 1
            return wire.refusal(error, request)
        finally:
            self._open -= 1

    def _authorized(self, request: wire.Asked, route: Route, keys: Mapping[str, str]) -> Grant:
        """The token's grant. Roles count, and for Exchange also what was granted there and no token shows."""
        if request.method != "GET":
            message = "Specified HTTP method is not allowed for the request target."
            raise GraphError(405, "Request_BadRequest", message)
        grant = self._grant(request)
        if set(route.roles) & set(grant.roles):
            return grant
        if route.service is Service.DIRECTORY:
            raise directory_denied()
        if route.service in (Service.TEAMS, Service.CALLS):
            raise teams_denied(route.roles, grant.roles)
        if self._user_id(keys) not in grant.app.rbac_mailboxes:
            raise mailbox_denied()
        return grant

    def _grant(self, request: wire.Asked) -> Grant:
        """What the token of a request stands for. Raises GraphError 401."""
        header = request.headers.get("Authorization")
        if header is None:
            raise not_authenticated("Access token is empty.")
        grant = self._tokens.check(header)
        demanded = self._tokens.challenge(header)
        if demanded is not None:
            raise claims_demanded(demanded, authority=f"{self._base}/{self._tenant.id}")
        if grant is None:
            raise not_authenticated("Lifetime validation failed, the token is expired.")
        return grant

    async def _admitted(
        self, request: wire.Asked, version: str, route: Route, keys: dict[str, str], grant: Grant, send: Send[Sent]
    ) -> Sent | web.Response:
        """A request that may be made, as far as limits and faults let it through."""
        user_id, scope = self._user_id(keys), self._scope(route, keys)
        self._throttles.arrive(scope)
        try:
            with self._slot(route, grant, user_id):
                path = request.raw_path.partition("?")[0]
                page = _items_asked_for(request)
                fault = self._desk.strike(kind=route.kind, path=path, mailbox=user_id, page=page)
                if fault is not None and fault.effect is Effect.ANSWER:
                    self._counters.refusals[f"{fault.status} {route.kind}"] += 1
                    if fault.status == 429:
                        self._throttles.fence(scope, seconds=wire.seconds_to_wait(fault.retry_after))
                    return wire.fault_answer(fault, request)
                await self._desk.wait(fault)
                headers = self._take_budget(request, route, keys, grant)
                response = self._answer(request, version, route, keys, grant, fault, headers)
                return await send(response, fault)
        except GraphError as error:
            if error.status == 429:
                self._throttles.fence(scope, seconds=wire.seconds_to_wait(error.headers.get("Retry-After")))
            raise

    def _answer(
        self,
        request: wire.Asked,
        version: str,
        route: Route,
        keys: dict[str, str],
        grant: Grant,
        fault: Fault | None,
        headers: Mapping[str, str],
    ) -> web.Response:
        place = self._place(request.raw_path, route)
        in_token = place.round if place is not None else None
        options = _options(request.raw_path) if in_token is None else dict(in_token.options)
        if route.selects and "$select" not in options:
            self._counters.without_select[route.kind] += 1
        path = route.link_path(keys)
        call = Call(
            tenant=self._tenant,
            grant=grant,
            keys=keys,
            options=options,
            headers=request.headers,
            address=f"{self._base}/{version}/{path}",
            place=place or Place(position=_skip(options, route)),
            is_next_page=place is not None,
            roll=lambda purpose: _roll(purpose, path, place),
            link=lambda kind, keys, options, position: self._links.write(
                self._base, f"/{version}/{route_of(kind).link_path(keys)}", options, self._place_at(position)
            ),
        )
        reply = route.endpoint(call)
        self._counters.records[route.kind] += len(reply.page.records) if reply.page else 1
        page = reply.page
        if fault is not None and fault.effect is Effect.POISON and page is not None and _holds(page, fault.item):
            raise corrupt_data()
        body: dict[str, Any] = {"@odata.context": f"{self._base}/{version}/$metadata#{path}"}
        if page is None:
            novel = fault is not None and fault.effect is Effect.NEW_PROPERTY
            body |= with_new_property(reply.record or {}) if novel else reply.record or {}
        else:
            if fault is not None and fault.effect is Effect.EMPTY_PAGE:
                again = page.round and (in_token or Round(options=options))
                page = Page(records=[], next_position=call.place.position, round=again)
            body |= self._collection(page, route, f"/{version}/{path}", options, fault)
        response = wire.graph_answer(body, request, {**headers, **reply.headers})
        self._counters.bytes_sent += len(response.body) if isinstance(response.body, bytes) else 0
        return response

    def _collection(
        self, page: Page, route: Route, path: str, options: Mapping[str, str], fault: Fault | None
    ) -> dict[str, Any]:
        body: dict[str, Any] = {}
        if page.count is not None:
            body["@odata.count"] = page.count
        elif route.service is Service.TEAMS:
            body["@odata.count"] = len(page.records)  # of this page, not of the collection
        is_lost = fault is not None and fault.effect is Effect.LOST_LINK
        if page.next_position is not None and not is_lost:
            body["@odata.nextLink"] = self._next_link(page, page.next_position, route, path, options, fault)
        elif page.round is not None and not is_lost:
            body["@odata.deltaLink"] = self._links.write(self._base, path, {}, self._place_at(0, delta=page.round))
        novel = fault is not None and fault.effect is Effect.NEW_PROPERTY
        body["value"] = with_new_property(page.records) if novel else page.records
        return body

    def _next_link(
        self,
        page: Page,
        position: int,
        route: Route,
        path: str,
        options: Mapping[str, str],
        fault: Fault | None,
    ) -> str:
        kept = {name: value for name, value in options.items() if name not in ("$skip", "$skiptoken")}
        if route.service in (Service.OUTLOOK, Service.CALLS):
            kept["$skip"] = str(position)
        if page.round is not None:
            kept = {}
        base, effect = self._base, fault.effect if fault is not None else None
        if effect is Effect.FOREIGN_LINK:
            base = _FOREIGN_BASE
        if effect is Effect.BROKEN_LINK:
            path = path.replace("users('", "users//('", 1)
        place = self._place_at(position, after_empty=page.next_is_after_empty, delta=page.round)
        return self._links.write(base, path, kept, place)

    def _place_at(self, position: int, *, after_empty: bool = False, delta: Round | None = None) -> Place:
        now = self._tenant.clock.now.timestamp()
        return Place(position=position, after_empty=after_empty, issued_at=now, round=delta)

    def _place(self, target: str, route: Route) -> Place | None:
        """Where the requested page begins. Raises GraphError for a link that is not ours, or not any more."""
        try:
            place = self._links.read(target)
        except BrokenLink:
            code = "Request_BadRequest" if route.service is Service.DIRECTORY else "BadRequest"
            raise bad_query("Invalid page token value specified.", code=code) from None
        lifetime = self._tenant.profile.page_token_lifetime_s
        if place is None or lifetime is None or place.begins_round:  # delta tokens live by rules of their own
            return place
        if self._tenant.clock.now.timestamp() < place.issued_at + lifetime:
            return place
        if route.service is Service.DIRECTORY:
            raise GraphError(400, "Directory_ExpiredPageToken", "The specified page token value has expired.")
        raise GraphError(410, "syncStateNotFound", "The page token has expired.")

    def _slot(self, route: Route, grant: Grant, user_id: str) -> AbstractContextManager[None]:
        """A place in the mailbox, for requests to one."""
        if route.service is not Service.OUTLOOK:
            return nullcontext()
        return self._throttles.mailbox(grant.app.client_id, user_id)

    def _take_budget(
        self, request: wire.Asked, route: Route, keys: Mapping[str, str], grant: Grant
    ) -> Mapping[str, str]:
        app_id = grant.app.client_id
        if route.service is Service.DIRECTORY:
            units = resource_units(route.kind, _options(request.raw_path))
            return self._throttles.directory(units, app_id=app_id, tenant_id=self._tenant.id)
        if route.service is Service.TEAMS:
            self._throttles.teams(route.kind, app_id=app_id, keys=keys)
        if route.service is Service.CALLS:
            self._throttles.calls(route.kind, app_id=app_id, record_id=keys.get("record"))
        return {}

    def _user_id(self, keys: Mapping[str, str]) -> str:
        """The object id of the user in the path, whichever name the path uses."""
        person = self._tenant.people.find(keys.get("user", ""))
        return person.id if person is not None else keys.get("user", "")

    def _scope(self, route: Route, keys: Mapping[str, str]) -> str:
        """What a Retry-After is about: the mailbox, the chat, or requests of this kind."""
        if route.service is Service.OUTLOOK:
            return f"mailbox {self._user_id(keys)}"
        if route.service is Service.TEAMS:
            return " ".join((route.kind, *(keys[name] for name in ("chat", "channel", "team", "user") if name in keys)))
        if route.service is Service.CALLS:
            return route.kind
        return "directory"


def _options(target: str) -> dict[str, str]:
    """The query options. Their names count in any case, but only with the $ that belongs to them."""
    options = {}
    for part in target.partition("?")[2].split("&"):
        name, _, value = part.partition("=")
        if name:
            options[unquote_plus(name).lower()] = unquote_plus(value)
    return options


def _holds(page: Page, record_id: str | None) -> bool:
    return any(record.get("id") == record_id for record in page.records)


def _items_asked_for(request: wire.Asked) -> int | None:
    """By `$top`, or where that is missing by `Prefer: odata.maxpagesize`."""
    text = _options(request.raw_path).get("$top", "")
    if not text.isdigit():
        text = request.headers.get("Prefer", "").lower().partition("odata.maxpagesize=")[2].partition(",")[0].strip()
    return int(text) if text.isdigit() else None


def _skip(options: Mapping[str, str], route: Route) -> int:
    """A `$skip` that the client chose itself; only Exchange takes it."""
    text = options.get("$skip", "0")
    return int(text) if text.isdigit() and route.service is Service.OUTLOOK else 0


def _roll(purpose: str, path: str, place: Place | None) -> float:
    """A number in [0, 1) for one page: the same request is always answered alike."""
    name = f"{purpose} {path} {place.position if place else 0}"
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest()) / 2**32

"""A client of the emulator that does exactly what it is told, also what a good client would never do."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msal
import requests
from yarl import URL

from connectors.emulator import AppRegistration, Emulator

SCOPE = "https://graph.microsoft.com/.default"


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; `body` is None where it is no JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any = field(repr=False)

    @property
    def code(self) -> str:
        """The error code."""
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        """The error message."""
        return str(self.body["error"]["message"])

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of a page."""
        return list(self.body["value"])

    @property
    def next_link(self) -> str | None:
        """Where the collection goes on."""
        link = self.body.get("@odata.nextLink")
        return None if link is None else str(link)


@dataclass(slots=True)
class RawClient:
    """Requests with a token and with no other manners."""

    emulator: Emulator
    session: aiohttp.ClientSession
    token: str

    async def get(self, path: str, **headers: str) -> Answer:
        """One request; `path` is sent as it stands, below /v1.0 unless it is a whole link."""
        url = path if path.startswith("https://") else f"{self.emulator.url}/v1.0{path}"
        sent = {
            "Authorization": f"Bearer {self.token}",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        async with self.session.get(URL(url, encoded=True), headers=sent) as response:
            is_json = response.content_type == "application/json" and response.content_length != 0
            return Answer(response.status, response.headers, await response.json() if is_json else None)

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        """A JSON body to a path below /v1.0."""
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        async with self.session.post(f"{self.emulator.url}/v1.0{path}", json=body, headers=sent) as response:
            return Answer(response.status, response.headers, await response.json())

    async def all(self, path: str, **headers: str) -> list[dict[str, Any]]:
        """All records of a collection, following its next links as they stand."""
        records, link = [], path
        while link:
            answer = await self.get(link, **headers)
            assert answer.status == 200, answer.body
            records += answer.records
            link = answer.next_link or ""
        return records

    async def renew(self, app: AppRegistration | None = None) -> None:
        """A fresh token, of another app where one is given."""
        self.token = await fetch_token(self.emulator, self.session, app or self.emulator.app)


@asynccontextmanager
async def connected(emulator: Emulator) -> AsyncIterator[RawClient]:
    """A client with a token of the app that may read everything."""
    trust = ssl.create_default_context(cafile=str(emulator.ca_file))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        client = RawClient(emulator, session, "")
        await client.renew()
        yield client


async def fetch_token(emulator: Emulator, session: aiohttp.ClientSession, app: AppRegistration) -> str:
    """An access token for a secret."""
    form = {
        "grant_type": "client_credentials",
        "client_id": app.client_id,
        "client_secret": app.client_secret,
        "scope": SCOPE,
    }
    async with session.post(f"{emulator.url}/{emulator.tenant_id}/oauth2/v2.0/token", data=form) as response:
        return str((await response.json())["access_token"])


def msal_result(
    emulator: Emulator, credential: Any, *, client_id: str | None = None, scope: str = SCOPE, tenant: str | None = None
) -> dict[str, Any]:
    """What Microsoft's own library makes of the token service. Blocks: call it in a thread."""
    with requests.Session() as session:
        session.verify, session.trust_env = str(emulator.ca_file), False
        app = msal.ConfidentialClientApplication(
            client_id or emulator.client_id,
            client_credential=credential,
            authority=f"{emulator.url}/{tenant or emulator.tenant_id}",
            instance_discovery=False,
            http_client=session,
        )
        result: dict[str, Any] = app.acquire_token_for_client([scope])
        return result

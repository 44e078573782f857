"""Batches at the emulator: each request fares by itself, and the whole is a success."""

from typing import Any

from connectors.emulator import Body, Emulator, Fault, Tenant, TenantProfile
from connectors.emulator.throttles import MAILBOX_REQUESTS_IN_FLIGHT, MAILBOX_REQUESTS_PER_10_MIN
from tests.contract.raw_client import RawClient, connected
from tests.integration.conftest import NOW

USERS = 30


def tenant(**profile: Any) -> Tenant:
    return Tenant(seed=5, users=USERS, now=NOW, profile=TenantProfile(mailboxes={}, empty_pages=0, **profile))


def settings_of(user: str, **more: Any) -> dict[str, Any]:
    return {"id": user, "method": "GET", "url": f"/users/{user}/mailboxSettings?$select=timeZone", **more}


async def by_id(client: RawClient, *requests: dict[str, Any]) -> dict[str, dict[str, Any]]:
    answer = await client.post("/$batch", {"requests": requests})
    assert answer.status == 200
    return {each["id"]: each for each in answer.body["responses"]}


async def test_each_request_of_a_batch_is_answered_by_itself() -> None:
    """Twenty answers in an order of their own; what is wrong with one of them is its own affair."""
    async with Emulator(tenant()) as emulator, connected(emulator) as client:
        users = emulator.tenant.user_ids[:18]
        strange = [{"id": "x", "method": "GET", "url": "users/nobody"}, {"id": "y", "method": "POST", "url": "users"}]
        answer = await client.post("/$batch", {"requests": [*map(settings_of, users), *strange]})
        assert [each["id"] for each in answer.body["responses"]] != [*users, "x", "y"]
        answers = {each["id"]: each for each in answer.body["responses"]}
        assert {answers[user]["status"] for user in users} == {200}
        assert {"timeZone"} <= answers[users[0]]["body"].keys()
        assert (answers["x"]["status"], answers["y"]["status"]) == (404, 405)
        assert emulator.counters.requests["mailboxSettings"] == 18


async def test_a_throttled_request_of_a_batch_says_so_inside() -> None:
    """The outer status is 200 and without Retry-After; whoever retries looks into the answers."""
    async with Emulator(tenant()) as emulator, connected(emulator) as client:
        throttled, fine = emulator.tenant.user_ids[:2]
        emulator.throttles.spend_mailbox_requests(emulator.client_id, throttled, MAILBOX_REQUESTS_PER_10_MIN)
        answers = await by_id(client, settings_of(throttled), settings_of(fine))
        assert answers[throttled]["status"] == 429
        assert int(answers[throttled]["headers"]["Retry-After"]) > 0
        assert answers[throttled]["body"]["error"]["code"] == "ApplicationThrottled"
        assert answers[fine]["status"] == 200
        emulator.faults.replace([Fault(kind="mailboxSettings", status=503, body=Body.EMPTY)])
        assert (await by_id(client, settings_of(fine)))[fine] | {"headers": {}} == {
            "id": fine,
            "status": 503,
            "headers": {},
            "body": "",
        }


async def test_what_depends_on_a_failure_fails() -> None:
    """424, also further down the chain; what depends on a success goes on."""
    async with Emulator(tenant()) as emulator, connected(emulator) as client:
        user = emulator.tenant.user_ids[0]
        answers = await by_id(
            client,
            {"id": "1", "method": "GET", "url": "/users/nobody"},
            settings_of(user, dependsOn=["1"]),
            {"id": "3", "method": "GET", "url": "/users?$top=1", "dependsOn": [user]},
            {"id": "4", "method": "GET", "url": "/users?$top=1"},
            {"id": "5", "method": "GET", "url": "/users?$top=1", "dependsOn": ["4"]},
        )
        assert {name: each["status"] for name, each in answers.items()} == {
            "1": 404,
            user: 424,
            "3": 424,
            "4": 200,
            "5": 200,
        }


async def test_headers_count_only_inside() -> None:
    """A preference of the batch is none of its requests'."""
    async with Emulator(tenant()) as emulator, connected(emulator) as client:
        url = f"/users/{emulator.tenant.user_ids[0]}/messages?$top=1&$select=id"
        plain = {"id": "plain", "method": "GET", "url": url}
        immutable = {**plain, "id": "immutable", "headers": {"prefer": 'IdType="ImmutableId"'}}
        answer = await client.post("/$batch", {"requests": [plain, immutable]}, Prefer='IdType="ImmutableId"')
        found = {each["id"]: each["body"]["value"][0]["id"] for each in answer.body["responses"]}
        assert found["plain"] != found["immutable"]
        assert found["plain"] == (await client.get(url)).records[0]["id"]


async def test_a_malformed_batch_is_refused_as_a_whole() -> None:
    """Too many requests, two of one id, one that depends on nothing known, or no batch at all; and no token."""
    async with Emulator(tenant()) as emulator, connected(emulator) as client:
        one = {"id": "a", "method": "GET", "url": "/users"}
        malformed: list[Any] = [
            {"requests": [{**one, "id": str(number)} for number in range(21)]},
            {"requests": [one, {**one, "id": "A"}]},
            {"requests": [{**one, "dependsOn": ["b"]}]},
            {"requests": [{"id": "a"}]},
            [],
        ]
        for body in malformed:
            assert (await client.post("/$batch", body)).status == 400
        assert emulator.counters.requests["users"] == 0
        client.token = "strange"
        assert (await client.post("/$batch", {"requests": [one]})).status == 401


async def test_an_application_may_be_held_to_few_requests_to_all_mailboxes() -> None:
    """The knob of an older edition of the limits: four in flight for all mailboxes together."""
    async with (
        Emulator(tenant(mailboxes_in_flight=MAILBOX_REQUESTS_IN_FLIGHT)) as emulator,
        connected(emulator) as client,
    ):
        throttles, app = emulator.throttles, emulator.client_id
        users = emulator.tenant.user_ids[:5]
        places = [throttles.mailbox(app, user) for user in users[:4]]
        for place in places:
            place.__enter__()
        assert (await by_id(client, settings_of(users[4])))[users[4]]["status"] == 429
        for place in places:
            place.__exit__(None, None, None)
        assert (await by_id(client, settings_of(users[4])))[users[4]]["status"] == 200

"""Paging: what ends a collection, what breaks it off, and that records stay the bytes they were."""

import json
from typing import Any

import pytest

from connectors.graph.errors import End, Refusal
from connectors.graph.paging import CollectionBroken, Request, read_object, read_pages
from connectors.graph.retry import PageSize
from connectors.graph.traffic import mailbox_traffic
from tests.graph_server import ScriptedGraph, answer, page, refusal, scripted_graph

NEXT = "/v1.0/users('1')/messages?$skip=10&$skiptoken=a%2Bb%3d"


def _request(**changes: Any) -> Request:
    return Request(
        **{"path": "users/1/messages", "query": {"$filter": "x gt 1"}, "traffic": mailbox_traffic("1"), **changes}
    )


async def _read(graph: ScriptedGraph, request: Request | None = None, *, size: PageSize | None = None) -> list[bytes]:
    pages = read_pages(graph.client, request or _request(), budget=graph.client.budget(), size=size)
    return [page.records async for page in pages]


async def _refused(graph: ScriptedGraph) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await _read(graph)
    return refused.value


async def test_pages_are_followed_to_the_last() -> None:
    """By their links, byte for byte, with the preferences repeated."""
    async with scripted_graph(page({"id": 1}, next_link=NEXT), page({"id": 2})) as graph:
        records = await _read(graph, _request(prefer=("x",)), size=PageSize(10))
        assert [json.loads(text) for text in records] == [[{"id": 1}], [{"id": 2}]]
        assert graph.paths == ["/v1.0/users/1/messages?$filter=x%20gt%201&$top=10", NEXT]
        assert [request.headers["Prefer"] for request in graph.requests] == ["x", "x"]


async def test_records_are_not_touched() -> None:
    """Order of keys, spaces, escapes and numbers stay as Graph wrote them; what is between records goes."""
    record = '{"b":1.50,  "a":"\\u00e9\\/", "n":12345678901234567890}'
    async with scripted_graph(answer('{"@odata.count":2,"value":[ ' + record + " ,\n" + record + "]}")) as graph:
        assert await _read(graph) == [f"[{record},{record}]".encode()]


async def test_a_value_that_is_no_list_is_no_page() -> None:
    """It is told from text that is no JSON at all."""
    for value in ("null", "{}", '"x"', "1", "true"):
        async with scripted_graph(answer('{"value":' + value + "}")) as graph:
            with pytest.raises(Refusal, match="missing_value"):
                await _read(graph)


async def test_empty_pages_do_not_end_a_collection() -> None:
    """Only a missing next link does; empty pages are not handed on."""
    async with scripted_graph(page(next_link=NEXT + "1"), page(next_link=NEXT + "2"), page({"id": 1})) as graph:
        assert len(await _read(graph)) == 1
        assert len(graph.requests) == 3
    async with scripted_graph(answer('{"value": [ ]}')) as graph:
        assert await _read(graph) == []


async def test_a_repeated_link_is_noticed() -> None:
    """A collection that leads back into itself fails instead of running for ever."""
    loop = [page({"id": 1}, next_link=NEXT + "a"), page({"id": 2}, next_link=NEXT + "b")]
    async with scripted_graph(*loop, loop[0]) as graph:
        refused = await _refused(graph)
        assert (refused.code, refused.row.end) == ("repeated_next_link", End.BAD_ANSWER)
        assert len(graph.requests) == 3


async def test_a_repeated_link_with_empty_pages_between_is_noticed() -> None:
    """An empty page may point to its own link; a loop that brings records a second time may not."""
    patient = [page(next_link=NEXT), page(next_link=NEXT), page({"id": 1})]
    async with scripted_graph(*patient) as graph:
        assert await _read(graph) == [b'[{"id": 1}]']
    a, b = page({"id": 1}, next_link=NEXT + "b"), page(next_link=NEXT + "a")
    async with scripted_graph(a, b, a, b, a, b, page()) as graph:
        assert (await _refused(graph)).code == "repeated_next_link"


async def test_endless_empty_pages_are_noticed() -> None:
    """Each with a new link."""
    count = 0

    def empty(request: Any) -> Any:
        nonlocal count
        count += 1
        return page(next_link=f"{NEXT}{count}")(request)

    async with scripted_graph(empty) as graph:
        assert (await _refused(graph)).code == "endless_empty_pages"


@pytest.mark.parametrize(
    "link", ["https://evil.test/v1.0/users", "https://127.0.0.1/v1.0/x", "/v1.0/users", "http://127.0.0.1:1/v1.0/users"]
)
async def test_a_foreign_link_gets_no_token(link: str) -> None:
    """Nothing is sent there, and the collection fails."""
    body = {"value": [], "@odata.nextLink": link}
    async with scripted_graph(answer(body)) as graph:
        refused = await _refused(graph)
        assert (refused.code, refused.row.end) == ("foreign_next_link", End.BAD_ANSWER)
        assert len(graph.requests) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "malformed_json"),
        ('{"value": [{"id": 1}', "malformed_json"),
        ("<html><body>Sign in</body></html>", "html_page"),
        ("{}", "missing_value"),
        ('{"value": null}', "missing_value"),
        ('{"value": {}}', "missing_value"),
        ("[]", "malformed_json"),
        ('{"value":' + "[" * 100_000 + "]" * 100_000 + "}", "malformed_json"),
        ('{"value": [], "@odata.nextLink": 7}', "malformed_json"),
        ('{"error": {"code": "x"}}', "error_in_success"),
        ('{"value": [], "error": {"code": "x"}}', "error_in_success"),
    ],
)
async def test_a_200_without_sense_is_retried_then_fails(body: str, code: str) -> None:
    """Never a silent end of the collection."""
    async with scripted_graph(answer(body)) as graph:
        refused = await _refused(graph)
        assert (refused.code, refused.row.end) == (code, End.BAD_ANSWER)
        assert len(graph.requests) == 6
    async with scripted_graph(answer(body), page({"id": 1})) as graph:
        assert await _read(graph) == [b'[{"id": 1}]']


async def test_control_characters_are_tolerated_in_the_end() -> None:
    """Twice the service may send clean JSON; then they are escaped, and only they change."""
    body = '{"value":[{"id":"1","subject":"a\tb\x01c","s":"\\ud800","d":"2026-03-02T09:00:00.1234567Z"}]}'
    async with scripted_graph(answer(body)) as graph:
        (records,) = await _read(graph)
        assert len(graph.requests) == 3
    (record,) = json.loads(records)
    assert record["subject"] == "a\tb\x01c"
    assert record["d"] == "2026-03-02T09:00:00.1234567Z"
    assert record["s"] == "?"


async def test_a_byte_order_mark_is_no_fault() -> None:
    """Some proxies add one."""
    async with scripted_graph(answer('\ufeff{"value":[{"id":1}]}')) as graph:
        assert await _read(graph) == [b'[{"id":1}]']


@pytest.mark.parametrize(
    "broken",
    [
        refusal(400, "Directory_ExpiredPageToken"),
        refusal(410, "SyncStateNotFound"),
        refusal(404, "ErrorItemNotFound"),
    ],
)
async def test_a_dead_page_token_breaks_the_collection(broken: Any) -> None:
    """It can only be read from its start again; a page cannot be gone while its mailbox is there."""
    async with scripted_graph(page({"id": 1}, next_link=NEXT), broken) as graph:
        with pytest.raises(CollectionBroken):
            await _read(graph)


async def test_a_link_without_user_breaks_the_collection() -> None:
    """A known fault of the service."""
    async with scripted_graph(page({"id": 1}, next_link="/v1.0/users//messages?$skip=1")) as graph:
        with pytest.raises(CollectionBroken):
            await _read(graph)


async def test_a_first_page_that_times_out_is_asked_for_in_halves() -> None:
    """After every second failure half as many; what comes through in the end is the whole collection."""
    size = PageSize(1_000)
    async with scripted_graph(*[refusal(504)] * 4, page({"id": 1}, next_link=NEXT), page({"id": 2})) as graph:
        assert len(await _read(graph, size=size)) == 2
        tops = [request.query.get("$top") for request in graph.requests]
    assert tops == ["1000", "1000", "500", "500", "250", None]


async def test_a_later_page_is_made_smaller_by_header() -> None:
    """A next link cannot be changed; Outlook takes the size as a preference."""
    size = PageSize(100)
    gateway = refusal(504)
    first = page({"id": 1}, next_link=NEXT)
    async with scripted_graph(first, gateway, gateway, page({"id": 2})) as graph:
        request = _request(prefer=("x",), sizes_by_header=True)
        assert len(await _read(graph, request, size=size)) == 2
        prefers = [request.headers.get("Prefer") for request in graph.requests]
        assert graph.paths[1:] == [NEXT] * 3
    assert prefers == ["x", "x", "x", "x, odata.maxpagesize=50"]


async def test_a_later_page_that_stays_too_heavy_breaks_the_collection() -> None:
    """With what was learnt about its size the first page is asked for again."""
    size = PageSize(100)
    async with scripted_graph(page({"id": 1}, next_link=NEXT), refusal(504)) as graph:
        with pytest.raises(CollectionBroken):
            await _read(graph, size=size)
    assert size.items < 100


def _mailbox_with_damage(*damaged: int, records: int = 100) -> Any:
    """Graph as Outlook pages: $top and $skip; a page that would hold a damaged record is refused."""

    def mailbox(request: Any) -> Any:
        top, skip = int(request.query["$top"]), int(request.query.get("$skip", 0))
        numbers = range(skip, min(skip + top, records))
        if set(numbers) & set(damaged):
            return refusal(500, "ErrorCorruptData")(request)
        more = f"/v1.0/users/1/messages?$top={top}&$skip={skip + top}" if skip + top < records else None
        return page(*({"id": number} for number in numbers), next_link=more)(request)

    return mailbox


@pytest.mark.parametrize("damaged", [(0,), (37,), (99,), (20, 21, 77)])
async def test_a_damaged_record_is_left_out_alone(damaged: tuple[int, ...]) -> None:
    """Every other record comes, once and in order; the damaged ones are counted."""
    size = PageSize(32)
    async with scripted_graph(_mailbox_with_damage(*damaged)) as graph:
        pages = read_pages(graph.client, _request(sizes_by_header=True), budget=graph.client.budget(), size=size)
        got = [page async for page in pages]
        assert len(graph.requests) < 40 * len(damaged)
    numbers = [record["id"] for page in got for record in json.loads(page.records)]
    assert numbers == [number for number in range(100) if number not in damaged]
    assert sum(page.damaged for page in got) == len(damaged)
    assert not size.is_reduced


async def test_where_everything_is_damaged_it_is_not_the_records() -> None:
    """A hundred are left out, then the collection fails with the service's word."""
    async with scripted_graph(refusal(500, "ErrorCorruptData")) as graph:
        with pytest.raises(Refusal) as refused:
            await _read(graph, _request(sizes_by_header=True), size=PageSize(1))
    assert (refused.value.code, refused.value.row.end) == ("ErrorCorruptData", End.SERVICE_ERROR)


async def test_a_damaged_record_fails_a_collection_that_cannot_begin_behind_it() -> None:
    """Nothing is passed over where nobody could say what."""
    async with scripted_graph(page({"id": 1}, next_link=NEXT), refusal(500, "ErrorCorruptData")) as graph:
        with pytest.raises(Refusal) as refused:
            await _read(graph, size=PageSize(50))
    assert refused.value.code == "ErrorCorruptData"


async def test_a_first_page_shrinks_as_far_as_it_must() -> None:
    """Each size has retries of its own: a mailbox that bears seven items a page is read with fewer."""

    def heavy(request: Any) -> Any:
        return (refusal(504) if int(request.query["$top"]) > 7 else page({"id": 1}))(request)

    async with scripted_graph(heavy) as graph:
        assert len(await _read(graph, size=PageSize(1_000))) == 1
    async with scripted_graph(refusal(504)) as graph:
        with pytest.raises(Refusal):
            await _read(graph, size=PageSize(1_000))
        assert len(graph.requests) < 30


async def test_one_object_becomes_a_page_of_one() -> None:
    """Single answers have no `value`."""
    async with scripted_graph(answer('\ufeff{"timeZone":"UTC"}')) as graph:
        got = await read_object(graph.client, _request(), budget=graph.client.budget())
    assert got.records == b'[{"timeZone":"UTC"}]'


@pytest.mark.parametrize("body", ["[]", "null", '{"error":{}}', "<html>", '{"a":'])
async def test_one_object_without_sense_fails(body: str) -> None:
    """As a page would."""
    async with scripted_graph(answer(body)) as graph:
        with pytest.raises(Refusal) as refused:
            await read_object(graph.client, _request(), budget=graph.client.budget())
    assert refused.value.row.end is End.BAD_ANSWER

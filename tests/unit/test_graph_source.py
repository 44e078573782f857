"""The generic source: restarts, skips, and what a unit becomes."""

from typing import Any

import pytest

from connectors.graph.paging import Request
from connectors.graph.retry import RetryPolicy
from connectors.graph.source import MOST_RESTARTS, Collection, GraphSource
from connectors.graph.traffic import mailbox_traffic
from pipeline.completeness import Method
from pipeline.errors import DatasetDenied, FailReason, SkipReason, UnitFailed, UnitReadAgain, UnitSkipped
from pipeline.model import Page, Principal, PrincipalKind, Unit
from tests.graph_server import Answer, ScriptedGraph, answer, page, refusal, scripted_graph

UNIT = Unit("things", Principal(PrincipalKind.USER, "u1"))
NEXT = "/v1.0/users/u1/things?$skip=10"
DEAD = refusal(400, "Directory_ExpiredPageToken")


def _source(graph: ScriptedGraph, **changes: Any) -> GraphSource:
    paths = changes.pop("paths", ["users/u1/things"])
    requests = [Request(path=path, traffic=mailbox_traffic("u1"), page_items=100) for path in paths]
    collection = Collection(
        **{
            "dataset": "things",
            "connector": "c",
            "principals": PrincipalKind.USER,
            "requests": lambda _: requests,
            "roles": ("Things.Read.All",),
            **changes,
        }
    )
    return GraphSource(collection, graph.client)


async def _read(source: GraphSource) -> list[bytes]:
    return [page.records async for page in source.pages(UNIT)]


async def test_pages_of_all_requests_in_turn() -> None:
    """A unit may be made of several collections."""
    async with scripted_graph(page({"id": 1}), page({"id": 2})) as graph:
        assert await _read(_source(graph, paths=["a", "b"])) == [b'[{"id": 1}]', b'[{"id": 2}]']


async def test_a_restart_before_the_first_page_is_nobodys_business() -> None:
    """Nothing was handed over, so the collection is simply read again."""
    async with scripted_graph(DEAD, page(next_link=NEXT), DEAD, page({"id": 1})) as graph:
        assert await _read(_source(graph)) == [b'[{"id": 1}]']


async def test_a_restart_after_a_page_gives_the_unit_back() -> None:
    """The reader drops what it has and calls again; no record comes twice."""
    async with scripted_graph(page({"id": 1}, next_link=NEXT), DEAD, page({"id": 1})) as graph:
        source = _source(graph)
        pages = source.pages(UNIT)
        assert (await anext(pages)).records == b'[{"id": 1}]'
        with pytest.raises(UnitReadAgain):
            await anext(pages)
        assert await _read(source) == [b'[{"id": 1}]']


async def test_restarts_are_bounded() -> None:
    """Five times anew, then the unit fails; afterwards it starts with a clean slate."""

    def dying(request: Any) -> Any:
        return DEAD(request) if "$skip" in request.raw_path else page({"id": 1}, next_link=NEXT)(request)

    async with scripted_graph(dying) as graph:
        source = _source(graph)
        for _ in range(MOST_RESTARTS):
            with pytest.raises(UnitReadAgain):
                await _read(source)
        with pytest.raises(UnitFailed) as failed:
            await _read(source)
        assert (failed.value.reason, failed.value.code) == (FailReason.SERVICE_ERROR, "Directory_ExpiredPageToken")
        assert source._interrupted == {}


async def test_a_page_too_heavy_is_read_anew_in_smaller_ones() -> None:
    """What was learnt of the size survives the restart."""

    def heavy(request: Any) -> Any:
        if "$skip" in request.raw_path:
            return refusal(504)(request)
        top = int(request.query["$top"])
        return (page({"id": 1}, next_link=NEXT) if top > 12 else page({"id": 1}, {"id": 2}))(request)

    async with scripted_graph(heavy) as graph:
        source = _source(graph)
        with pytest.raises(UnitReadAgain):
            await _read(source)
        assert await _read(source) == [b'[{"id": 1},{"id": 2}]']


async def test_a_page_may_have_to_shrink_more_often_than_a_token_may_die() -> None:
    """Each new start asks for less, so it ends by itself: first at a page that comes, else at pages of one."""

    def heavy(request: Any) -> Any:
        if "$skip" in request.raw_path:
            return refusal(504)(request)
        return page({"id": 1}, next_link=NEXT if int(request.query["$top"]) > bearable else None)(request)

    bearable, starts = 1, 0
    async with scripted_graph(heavy, retry=RetryPolicy(retries=2)) as graph:
        source = _source(graph)
        while True:
            starts += 1
            try:
                records = await _read(source)
            except UnitReadAgain:
                continue
            break
    assert records == [b'[{"id": 1}]']
    assert starts > MOST_RESTARTS
    bearable = 0
    async with scripted_graph(heavy) as graph:
        source = _source(graph)
        failed: UnitFailed | None = None
        while failed is None:
            try:
                await _read(source)
            except UnitReadAgain:
                continue
            except UnitFailed as error:
                failed = error
        assert failed.reason is FailReason.SERVICE_ERROR


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (refusal(404, "MailboxNotEnabledForRESTAPI"), SkipReason.NO_MAILBOX),
        (refusal(403, "ErrorAccessDenied"), SkipReason.OUT_OF_POLICY),
        (refusal(404, "Request_ResourceNotFound"), SkipReason.DELETED_PRINCIPAL),
    ],
)
async def test_expected_reasons_are_skips(told: Any, reason: SkipReason) -> None:
    """The code goes along, for the report."""
    async with scripted_graph(told) as graph:
        with pytest.raises(UnitSkipped) as skipped:
            await _read(_source(graph))
    assert skipped.value.reason is reason
    assert skipped.value.code


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (refusal(403, "ErrorAccessDenied"), FailReason.PERMISSION),
        (refusal(404, "ResourceNotFound"), FailReason.UNKNOWN_ERROR),
        (refusal(404, "ErrorItemNotFound"), FailReason.UNKNOWN_ERROR),
        (refusal(401, "Unauthorized"), FailReason.UNKNOWN_ERROR),
    ],
)
async def test_a_whole_tenant_is_never_skipped(told: Any, reason: FailReason) -> None:
    """What is expected of one mailbox is a failure of a list of all."""
    async with scripted_graph(told) as graph:
        source = _source(graph, principals=PrincipalKind.TENANT)
        with pytest.raises(UnitFailed) as failed:
            [page async for page in source.pages(Unit("things", Principal.tenant("t")))]
    assert failed.value.reason is reason
    assert failed.value.code


async def test_a_missing_permission_names_what_would_do() -> None:
    """After one new token the dataset is denied, with the roles of its declaration."""
    async with scripted_graph(refusal(403, "Authorization_RequestDenied")) as graph:
        with pytest.raises(DatasetDenied) as denied:
            await _read(_source(graph))
        assert denied.value.needs == ("Things.Read.All",)
        assert graph.tokens.refused == ["token-1"]


async def test_consent_given_during_the_run_works() -> None:
    """A new token has it."""
    async with scripted_graph(refusal(403, "Authorization_RequestDenied"), page({"id": 1})) as graph:
        assert len(await _read(_source(graph))) == 1


async def test_a_folder_a_mailbox_does_not_have_holds_nothing() -> None:
    """Only where the declaration says so, and only when it is missing from the start."""
    gone = refusal(404, "ErrorItemNotFound")
    async with scripted_graph(gone, page({"id": 2})) as graph:
        assert len(await _read(_source(graph, paths=["a", "b"], may_be_missing=True))) == 1
    async with scripted_graph(gone) as graph:
        with pytest.raises(UnitSkipped):
            await _read(_source(graph))
    async with scripted_graph(page({"id": 1}, next_link=NEXT), gone) as graph:
        with pytest.raises(UnitReadAgain):
            await _read(_source(graph, may_be_missing=True))


async def test_a_single_object_is_a_page_of_one() -> None:
    """As mailbox settings are."""
    async with scripted_graph(answer({"timeZone": "UTC"})) as graph:
        assert await _read(_source(graph, single=True)) == [b'[{"timeZone": "UTC"}]']


async def test_errors_hold_no_identifier() -> None:
    """Neither the user nor the URL, wherever the error came from."""
    async with scripted_graph(refusal(404, "ErrorInvalidUser", message="The requested user 'u1' is invalid.")) as graph:
        with pytest.raises(UnitSkipped) as skipped:
            await _read(_source(graph))
    chain = [skipped.value, skipped.value.__cause__]
    assert "u1" not in repr(chain) + str(chain)


def _counted(count: object, *records: Any) -> Answer:
    return answer({"@odata.count": count, "value": list(records)})


async def _pages(source: GraphSource) -> list[Page]:
    return [page async for page in source.pages(UNIT)]


def _counted_source(graph: ScriptedGraph, *paths: str, **changes: Any) -> GraphSource:
    requests = [Request(path=path, traffic=mailbox_traffic("u1"), is_counted=True) for path in paths]
    return _source(graph, completeness=Method.COUNT, requests=lambda _: requests, **changes)


async def test_what_a_unit_is_expected_to_have_is_told_at_its_end() -> None:
    """The first counts of all its collections together; those of later pages are not added."""
    first = answer({"@odata.count": 3, "value": [{"id": 1}], "@odata.nextLink": f"{{base}}{NEXT}"})
    async with scripted_graph(first, _counted(9, {"id": 2}), _counted(0)) as graph:
        source = _counted_source(graph, "users/u1/things", "users/u1/others")
        *pages, last = await _pages(source)
        assert last == Page(b"[]", expected=3)
        assert [page.expected for page in pages] == [None] * len(pages)
        assert [b"$count=true" in request.raw_path.encode() for request in graph.requests] == [True, False, True]


@pytest.mark.parametrize("count", [None, "3", -1, 2.5])
async def test_a_collection_that_is_not_counted_leaves_the_unit_without_a_number(count: object) -> None:
    """Half a sum would be taken for the whole."""
    async with scripted_graph(_counted(1, {"id": 1}), _counted(count, {"id": 2})) as graph:
        pages = await _pages(_counted_source(graph, "users/u1/things", "users/u1/others"))
        assert [(page.records, page.expected) for page in pages] == [(b'[{"id": 1}]', None), (b'[{"id": 2}]', None)]


async def test_a_collection_read_anew_is_counted_anew() -> None:
    """What was counted before it broke off is forgotten."""
    first = answer({"@odata.count": 3, "value": [{"id": 1}], "@odata.nextLink": f"{{base}}{NEXT}"})
    async with scripted_graph(first, DEAD, _counted(1, {"id": 1})) as graph:
        source = _counted_source(graph, "users/u1/things")
        with pytest.raises(UnitReadAgain):
            await _pages(source)
        assert (await _pages(source))[-1].expected == 1


async def test_the_second_count_is_one_small_request_for_each_collection() -> None:
    """A folder that is missing holds nothing; where one is refused otherwise, there is no count."""
    missing = refusal(404, "ErrorItemNotFound")
    async with scripted_graph(_counted(4, {"id": 1}), missing) as graph:
        source = _counted_source(graph, "users/u1/things", "users/u1/others", may_be_missing=True)
        assert await source.count(UNIT) == 4
        assert "$select=id&$top=1&$count=true" in graph.requests[0].raw_path
    async with scripted_graph(_counted(4, {"id": 1}), refusal(400, "BadRequest")) as graph:
        assert await _counted_source(graph, "users/u1/things", "users/u1/others").count(UNIT) is None


async def test_one_object_is_one_record() -> None:
    """The plan says so, no count does."""
    async with scripted_graph(answer({"id": 1})) as graph:
        pages = await _pages(_source(graph, single=True, completeness=Method.ENUMERATION))
        assert [page.expected for page in pages] == [None, 1]

"""The registry: every connector of the settings, every dataset once."""

from config.model import CONNECTOR_NAMES
from connectors.graph.connector import Select
from connectors.options import ConnectorOptions
from connectors.registry import CONNECTORS, build
from pipeline.sanitize.rules import built_in_rules
from tests.graph_server import page, scripted_graph

SELECT: Select = dict.fromkeys(built_in_rules(), ("id",))


async def test_every_connector_of_the_settings_can_be_built() -> None:
    """And their datasets are those of the rules, each once."""
    assert set(CONNECTORS) == set(CONNECTOR_NAMES)
    async with scripted_graph(page()) as graph:
        made = [build(name, client=graph.client, select=SELECT, options=ConnectorOptions()) for name in CONNECTORS]
        sources = [source for connector in made for source in connector.sources]
        assert sorted(source.dataset for source in sources) == sorted(SELECT)
        assert {source.connector for source in sources} == {connector.name for connector in made} == set(CONNECTORS)


async def test_only_teams_has_something_to_prepare() -> None:
    """The others learn nothing beforehand."""
    async with scripted_graph(page()) as graph:
        for name in CONNECTORS:
            made = build(name, client=graph.client, select=SELECT, options=ConnectorOptions())
            prepared = await made.prepare([], saved=None)
            assert (prepared.saved is not None) == (name == "msft-teams")
        assert [request.path for request in graph.requests] == ["/v1.0/teams"]

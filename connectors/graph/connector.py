"""What most connectors are: a name and the sources of its datasets, with nothing to prepare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.model import Principal
from pipeline.ports import Preparation, Source

Select = Mapping[str, tuple[str, ...]]
"""The properties the rules keep, by dataset; nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class GraphConnector:
    """A `pipeline.ports.Connector`."""

    name: str
    sources: Sequence[Source]

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        """Nothing to learn."""
        del users, saved
        return Preparation()


def select_of(select: Select, dataset: str, *needed: str) -> str:
    """The value of $select: what the rules keep of the dataset, and what the export itself needs."""
    return ",".join(dict.fromkeys((*needed, *select[dataset])))

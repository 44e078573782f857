"""Reading the directory with whichever application may."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from pipeline.directory import FirstPermitted
from pipeline.errors import DatasetDenied, FailReason, SkipReason, UnitFailed, UnitSkipped
from pipeline.model import Page, Principal, PrincipalKind, Unit
from tests.harness import SmallSource, SmallTenant

UNIT = Unit("mailbox_settings", Principal(PrincipalKind.USER, "u"))


@dataclass(frozen=True, slots=True)
class Application(SmallSource):
    """One application's view: it answers, or raises."""

    answer: Page | Exception = field(default_factory=lambda: Page(b"[]"))

    async def pages(self, unit: Unit) -> AsyncIterator[Page]:
        if isinstance(self.answer, Exception):
            raise self.answer
        yield self.answer


def application(answer: Page | Exception) -> Application:
    return Application(SmallTenant([]), "mailbox_settings", PrincipalKind.USER, answer=answer)


async def read(source: FirstPermitted) -> list[Page]:
    return [page async for page in source.pages(UNIT)]


async def test_the_first_application_that_may_is_used() -> None:
    """A refused permission moves on to the next application, for good."""
    permitted = Page(b"[1]")
    source = FirstPermitted([application(DatasetDenied(needs=("User.Read.All",))), application(permitted)])

    assert await read(source) == [permitted]
    assert await read(source) == [permitted]


async def test_a_mailbox_closed_to_one_application_is_asked_of_the_next() -> None:
    """Exchange refuses a missing permission and an excluded mailbox alike."""
    permitted = Page(b"[1]")
    source = FirstPermitted([application(UnitSkipped(SkipReason.OUT_OF_POLICY)), application(permitted)])

    assert await read(source) == [permitted]


@pytest.mark.parametrize(
    "error", [DatasetDenied(needs=()), UnitSkipped(SkipReason.OUT_OF_POLICY), UnitFailed(FailReason.SERVICE_ERROR)]
)
async def test_a_refusal_of_the_last_application_counts(error: Exception) -> None:
    """When nobody is left, the last answer is the answer."""
    source = FirstPermitted([application(DatasetDenied(needs=())), application(error)])

    with pytest.raises(type(error)):
        await read(source)

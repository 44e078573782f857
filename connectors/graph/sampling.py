"""How many records a long window holds, learnt from a few of its pages.

A window that ends within MOST_PAGES is simply read. Of a longer one, slices are looked at: evenly spread over the
window, so that day and night and the days of the week are met alike, and so short that one page holds each. The
number found in them, times how much longer the window is, is right on average.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import msgspec

from connectors.graph.client import GraphClient
from connectors.graph.paging import Request, read_first, read_pages
from connectors.graph.retry import UnitBudget
from pipeline.metering import metered
from pipeline.model import MICROSECOND, Page, Window

MOST_PAGES = 3
SLICES = 4  # looked at in a window that is longer
FIRST_SHARE = 1 / 16  # of the window that the slices together make up at first; a quarter of it after each overflow
MOST_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Records:
    """What was found of a window."""

    count: float  # records in the whole window
    requests: float  # for all their pages
    pages: list[Page] = field(repr=False)
    weight: float  # how many records of the window each record in `pages` stands for


class Fill:
    """How full pages are that others follow: less than asked for, where the service gives short or empty ones."""

    PRIOR_PAGES = 10  # believed to be full, before anything was seen

    def __init__(self) -> None:
        self._asked = 0
        self._given = 0

    def note(self, *, asked: int, given: int) -> None:
        self._asked += asked
        self._given += given

    def pages_of(self, records: float, *, page_items: int) -> float:
        """How many requests so many records take; one where there are none."""
        prior = self.PRIOR_PAGES * page_items
        return max(1.0, records / page_items * (prior + self._asked) / (prior + self._given) + _LAST_PAGE)


_LAST_PAGE = 0.5  # the last page is half full on average


async def sample_window(
    client: GraphClient,
    window: Window,
    request: Callable[[Window], Request],
    *,
    page_items: int,
    fill: Fill,
    budget: UnitBudget,
    chance: Random,
) -> Records:
    """The records of a window. Raises: Refusal, CollectionBroken."""
    with metered() as meter:
        read: list[Page] = []
        async for page in read_pages(client, request(window), budget=budget, size=None):
            read.append(page)
            if meter.count >= MOST_PAGES:
                break
        else:
            return Records(sum(map(items, read)), meter.count, read, 1.0)
    fill.note(asked=meter.count * page_items, given=sum(map(items, read)))
    pages, share = await _slices(client, window, request, budget=budget, chance=chance)
    count = sum(map(items, pages)) / share
    return Records(count, fill.pages_of(count, page_items=page_items), pages, 1 / share)


async def _slices(
    client: GraphClient,
    window: Window,
    request: Callable[[Window], Request],
    *,
    budget: UnitBudget,
    chance: Random,
) -> tuple[list[Page], float]:
    """Pages of evenly spread slices, and the share of the window that they are."""
    share = FIRST_SHARE
    for attempt in range(MOST_ATTEMPTS):
        step = (window.end - window.start) / SLICES
        length = max(step * share, MICROSECOND)
        offset = (step - length) * chance.random()
        pages: list[Page] = []
        for number in range(SLICES):
            start = window.start + step * number + offset
            first = await read_first(client, request(Window(start, start + length)), budget=budget)
            if first.has_more and attempt + 1 < MOST_ATTEMPTS:
                share /= 4
                break
            pages.append(first.page)
        else:
            break
    return pages, length / step


def items(page: Page) -> int:
    """How many records a page holds."""
    return len(_raws.decode(page.records))


_raws = msgspec.json.Decoder(list[msgspec.Raw])

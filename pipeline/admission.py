"""Principals of whom only a request tells whether anything of them is read.

Where shared mailboxes are not wanted each mailbox has to be asked, where the scope names groups or people each team for
its members. A run asks all of them before it reads. An estimate asks some: of these it may sample, and the others are
taken to be like them.
"""

import asyncio
import math
from collections.abc import Collection, Iterator, Sequence

from pipeline.errors import DatasetDenied, SourceRefused, UnitFailed, UnitSkipped
from pipeline.estimate import Observation, Stratum, spread_order
from pipeline.metering import metered
from pipeline.model import Principal
from pipeline.ports import Admits


class Admission:
    """Some of the principals of a few datasets, asked at most once each."""

    def __init__(
        self, principals: Sequence[Principal], admits: Admits, *, datasets: Collection[str], offset: float
    ) -> None:
        """`offset` in [0, 1) chooses whom to ask first."""
        self.datasets = datasets
        self.asking = Stratum("", len(principals))
        """What asking everybody takes."""
        self._admits = admits
        self._answers: dict[Principal, bool] = {}
        self._at_door: dict[Principal, asyncio.Lock] = {}
        self._order = (principals[place] for place in spread_order(len(principals), offset=offset))

    async def ask_some(self, *, requests: float, at_once: int) -> None:
        """Until they have taken so many requests, or nobody is left."""
        while not self.asking.refused:
            taken = sum(each.cost for each in self.asking.observed)
            few = min(at_once, int((requests - taken) / self.asking.cost))
            asked = list(self._next(few))
            if not asked:
                return
            async with asyncio.TaskGroup() as tasks:
                for principal in asked:
                    tasks.create_task(self.admits(principal))

    def may_admit(self, principal: Principal) -> bool:
        """False where it is known that nothing of the principal is read."""
        return not self.asking.refused and self._answers.get(principal, True)

    async def admits(self, principal: Principal) -> bool:
        """Whether anything of the principal is read; where nobody can tell, a run reads nothing either."""
        async with self._at_door.setdefault(principal, asyncio.Lock()):
            if principal not in self._answers and not self.asking.refused:
                await self._ask(principal)
        return self._answers.get(principal, False)

    def tell(self, strata: Sequence[Stratum]) -> None:
        """Let the strata of the datasets know how large a share of their units is read."""
        asked = self.asking.observed
        admitted = math.fsum(each.rows for each in asked)
        likely = (admitted + 0.5) / (len(asked) + 1)  # never certain before all have been asked
        spread = likely * (1 - likely) / max(len(asked), 1)
        left = max(0.0, 1 - len(asked) / max(self.asking.units, 1))
        for stratum in strata:
            stratum.refused = stratum.refused or self.asking.refused
            stratum.share = admitted / len(asked) if asked else 1.0
            stratum.share_deviation = math.sqrt(spread * left)

    async def _ask(self, principal: Principal) -> None:
        with metered() as meter:
            try:
                is_admitted = await self._admits(principal)
            except (DatasetDenied, SourceRefused):
                self.asking.refused = "permission"
                return
            except (UnitSkipped, UnitFailed):
                is_admitted = False
        self._answers[principal] = is_admitted
        self.asking.observed.append(Observation(dict(meter.requests), float(is_admitted), meter.count))

    def _next(self, few: int) -> Iterator[Principal]:
        for principal in self._order if few > 0 else ():
            if principal not in self._answers:
                yield principal
                few -= 1
            if few == 0:
                return

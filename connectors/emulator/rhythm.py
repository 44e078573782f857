"""When things happen in a working week: dense on weekdays by day, thin at night and at weekends.

A week is cut into `per_week` slots of unequal length, the same in every week, and slots are numbered without end.
From a slot its time follows by a table, and from a time its slot by one bisection.
"""

from bisect import bisect_right

_WEEK_S = 7 * 86_400
_EPOCH_MONDAY_S = 4 * 86_400  # 1970-01-05, a Monday
_WORKDAY = (1,) * 6 + (3, 8, 12, 14, 13, 9, 11, 13, 12, 10, 7, 4) + (2,) * 6  # weight of each hour, UTC
_WEEKEND = (1,) * 24


class Rhythm:
    """Numbered slots of a week that repeats for ever."""

    def __init__(self, per_week: int, *, round_to_s: int = 1) -> None:
        self.per_week = per_week
        self._starts = _slot_starts(per_week, round_to_s)

    def start_s(self, slot: int) -> int:
        """The first second of the slot, since 1970."""
        week, place = divmod(slot, self.per_week)
        return _EPOCH_MONDAY_S + week * _WEEK_S + self._starts[place]

    def width_s(self, slot: int) -> int:
        """The length of the slot in seconds."""
        place = slot % self.per_week
        return self._starts[place + 1] - self._starts[place]

    def slot_at(self, second: int) -> int:
        """The slot that contains this second."""
        week, rest = divmod(second - _EPOCH_MONDAY_S, _WEEK_S)
        return week * self.per_week + bisect_right(self._starts, rest) - 1

    @property
    def narrowest_s(self) -> int:
        """The length of the shortest slot."""
        return min(self.width_s(slot) for slot in range(self.per_week))


def _slot_starts(per_week: int, round_to_s: int) -> list[int]:
    weights = [weight for day in (*[_WORKDAY] * 5, *[_WEEKEND] * 2) for weight in day]
    total = sum(weights)
    starts, hour, before = [], 0, 0
    for place in range(per_week):
        reached = place * total / per_week
        while before + weights[hour] <= reached:
            before += weights[hour]
            hour += 1
        second = hour * 3600 + int((reached - before) / weights[hour] * 3600)
        starts.append(second - second % round_to_s)
    return [*starts, _WEEK_S]

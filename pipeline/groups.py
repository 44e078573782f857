"""Divides units among workers: whole principals in groups, large groups first and ever smaller ones towards the end.

How long a mailbox takes is not known beforehand, only how many windows of it are due. So whoever is done takes the
next group, and the last groups are small: at the end nobody waits long for the one who met the largest mailbox.
All units of a principal are in one group, so the limits of one mailbox, chat or team are kept by one worker alone.
"""

from collections.abc import Sequence

from pipeline.model import Unit

LARGEST = 5_000  # units: what the death of a worker costs at most, for each of its lanes
SMALLEST = 16  # units: beside fewer, handing a group over and its small parts would count
SHARE = 2  # a group is at most this part of what is left for a lane


def divided(principals: Sequence[Sequence[Unit]], *, lanes: int) -> list[list[list[Unit]]]:
    """Groups of principals, each with its units, in the order in which they are handed out."""
    waiting = sorted((list(units) for units in principals if units), key=len, reverse=True)
    left = sum(map(len, waiting))
    smallest = min(SMALLEST, max(1, left // (4 * lanes)))
    groups: list[list[list[Unit]]] = []
    place = 0
    while place < len(waiting):
        room = min(LARGEST, max(smallest, left // (SHARE * lanes)))
        group, held = [waiting[place]], len(waiting[place])
        place += 1
        while place < len(waiting) and held + len(waiting[place]) <= room:
            group.append(waiting[place])
            held += len(waiting[place])
            place += 1
        groups.append(group)
        left -= held
    return groups

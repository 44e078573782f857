"""Units into tasks for workers: whole principals, large tasks first and ever smaller ones towards the end.

How long a mailbox takes is not known beforehand, only how many windows of it are due. So whoever is done takes the
next task, and the last ones are small: at the end nobody waits long for the one who met the largest mailbox.
All units of a principal are in one task, so the limits of one mailbox, chat or team are kept by one worker alone.
"""

from collections.abc import Sequence

from pipeline.model import Unit

LARGEST = 5_000  # units: what the death of a worker costs at most, for each of its slots
SMALLEST = 16  # units: beside fewer, handing a task over and its small parts would count
SHARE = 2  # a task is at most this part of what is left for a slot


def partition(principals: Sequence[Sequence[Unit]], *, slots: int) -> list[list[list[Unit]]]:
    """Groups of principals, each with its units, in the order in which they are handed out."""
    waiting = sorted((list(units) for units in principals if units), key=len, reverse=True)
    left = sum(map(len, waiting))
    smallest = min(SMALLEST, max(1, left // (4 * slots)))
    tasks: list[list[list[Unit]]] = []
    place = 0
    while place < len(waiting):
        room = min(LARGEST, max(smallest, left // (SHARE * slots)))
        task, held = [waiting[place]], len(waiting[place])
        place += 1
        while place < len(waiting) and held + len(waiting[place]) <= room:
            task.append(waiting[place])
            held += len(waiting[place])
            place += 1
        tasks.append(task)
        left -= held
    return tasks

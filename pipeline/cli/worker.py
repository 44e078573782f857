"""What Dask loads into a process that works for runs of others: `dask worker --preload pipeline.cli.worker`.

    dask_setup       before the worker is known to anybody: memory as an export has it, everything imported
    grant            until when it may work, with how many others; renewed every few seconds
    do               one task
    dask_teardown    connections and files given back

https://distributed.dask.org/en/stable/customize-initialization.html (checked 2026-11). The coordinator has Dask call
`grant` and `do` by name, on the event loop of the worker process; what they do is `pipeline.cli.worker_session`'s.
"""

from pipeline import process

PRELOAD = __name__


def dask_setup(_worker: object) -> None:
    """What Dask calls before the worker announces itself: later it would keep the first grant waiting."""
    process.set_up()  # decides what the import below may bring
    from pipeline.cli import worker_session  # noqa: F401, PLC0415 - loaded for all tasks

    process.loaded()


def grant(encoded: bytes) -> bytes:
    """The encoded `Heartbeat` to an encoded `Grant`."""
    from pipeline.cli.worker_session import SESSIONS  # noqa: PLC0415 - see `dask_setup`

    return SESSIONS.grant(encoded)


async def do(task: bytes) -> bytes:
    """The encoded `Answer` to an encoded `Task`; every error becomes one."""
    from pipeline.cli.worker_session import SESSIONS  # noqa: PLC0415 - see `dask_setup`

    return await SESSIONS.do(task)


async def dask_teardown(_worker: object) -> None:
    """What Dask calls when the process ends."""
    from pipeline.cli.worker_session import SESSIONS  # noqa: PLC0415 - see `dask_setup`

    await SESSIONS.close()

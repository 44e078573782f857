"""The job by dlt at its best: its client pages, and each page is handed over as one Arrow table.

    python -m benchmarks.rivals.dlt_arrow JOB.json

https://dlthub.com/docs/dlt-ecosystem/verified-sources/arrow-pandas (checked 2026-11)
"""

from collections.abc import Iterator
from typing import Any

import dlt
import pyarrow as pa
from dlt.sources.helpers.rest_client import RESTClient

from benchmarks.rivals.dlt_parts import TABLE, client_options, load
from benchmarks.rivals.job import RivalJob, Rows, begin, end


def tables(job: RivalJob) -> Any:
    """A table for each page of each mailbox."""
    rows, schema, client = Rows(job), job.columns, RESTClient(**client_options(job), data_selector="value")

    def users() -> Iterator[list[dict[str, Any]]]:
        yield from client.paginate("users")

    def messages(page: list[dict[str, Any]]) -> Iterator[Any]:
        for user in page:
            yield lambda user=user: mailbox(user["id"])

    def mailbox(user: str) -> list[pa.Table]:
        return [rows.table(page, user, schema) for page in client.paginate(f"users/{user}/messages", params=job.query)]

    listed = dlt.resource(users, selected=False)
    return dlt.transformer(messages, data_from=listed, name=TABLE, parallelized=True)


if __name__ == "__main__":
    job, watch = begin()
    load(job, tables(job))
    end(watch)

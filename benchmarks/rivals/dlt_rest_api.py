"""The job by dlt's `rest_api` source as it is documented: mailboxes are a child resource of the users.

    python -m benchmarks.rivals.dlt_rest_api JOB.json

Where the documentation leaves a choice, the same rows decide, or else what is faster for dlt:

- nested values are JSON text (`max_table_nesting`); as it comes, the recipients would be tables of their own;
- the columns and their types are told, so that nothing is inferred; names stay as they are, so that none is rewritten;
- mailboxes are read in parallel, 16 at once, where 5 are usual.

Pseudonyms are made as dlt's own page on them does it: a plain function of each record, which remembers nothing.
https://dlthub.com/docs/general-usage/customising-pipelines/pseudonymizing_columns (checked 2026-11)
"""

from typing import Any

import pyarrow as pa
from dlt.sources.rest_api import rest_api_source

from benchmarks.rivals.dlt_parts import TABLE, client_options, load
from benchmarks.rivals.job import RivalJob, Rows, begin, end

PARENT_ID = "_users_id"  # as `include_from_parent` names it


def source(job: RivalJob) -> Any:
    """Users, and the messages of each."""
    rows = Rows(job, remembers=False)

    def treated(record: dict[str, Any]) -> dict[str, Any]:
        return rows.row(record, record[PARENT_ID])

    return rest_api_source(
        {
            "client": client_options(job),
            "resources": [
                {"name": "users", "selected": False, "endpoint": {"path": "users", "data_selector": "value"}},
                {
                    "name": TABLE,
                    "endpoint": {
                        "path": "users/{resources.users.id}/messages",
                        "params": job.query,
                        "data_selector": "value",
                    },
                    "include_from_parent": ["id"],
                    "processing_steps": [{"map": treated}],
                    "parallelized": True,
                    "max_table_nesting": 0,
                    "columns": {field.name: {"data_type": _kind(field.type)} for field in job.columns},
                },
            ],
        }
    )


def _kind(of: pa.DataType) -> str:
    if pa.types.is_nested(of):
        return "json"
    if pa.types.is_timestamp(of):
        return "timestamp"
    return "bool" if pa.types.is_boolean(of) else "text"


if __name__ == "__main__":
    job, watch = begin()
    load(job, source(job))
    end(watch)

"""The script that one would write: aiohttp, orjson, a table for each page, one Parquet file.

python -m benchmarks.rivals.plain JOB.json
"""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pyarrow.parquet as pq
from isal import isal_zlib

from benchmarks.rivals.job import SCOPE, RivalJob, Rows, begin, end


async def export(job: RivalJob) -> None:
    """Every mailbox, `in_flight` at a time."""
    aiohttp.set_zlib_backend(isal_zlib)
    rows, schema = Rows(job), job.columns
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=job.ca_file))
    async with aiohttp.ClientSession(connector=connector) as session:
        form = {
            "grant_type": "client_credentials",
            "client_id": job.client,
            "client_secret": job.secret,
            "scope": SCOPE,
        }
        async with session.post(job.token_url, data=form) as answer:
            token = orjson.loads(await answer.read())["access_token"]
        headers = {**job.headers, "Authorization": f"Bearer {token}"}

        async def get(url: str, query: dict[str, str] | None = None) -> Any:
            async with session.get(url, params=query, headers=headers) as answer:
                answer.raise_for_status()
                return orjson.loads(await answer.read())

        users: list[str] = []
        link: str | None = f"{job.url}/v1.0/users"
        while link:
            page = await get(link)
            users += [user["id"] for user in page["value"]]
            link = page.get("@odata.nextLink")
        with pq.ParquetWriter(Path(job.folder) / "mail_messages.parquet", schema, compression="zstd") as writer:

            async def read(user: str) -> None:
                page = await get(f"{job.url}/v1.0/users/{user}/messages", job.query)
                while True:
                    writer.write_table(rows.table(page["value"], user, schema))
                    if "@odata.nextLink" not in page:
                        return
                    page = await get(page["@odata.nextLink"])

            async def work() -> None:
                while users:
                    await read(users.pop())

            async with asyncio.TaskGroup() as tasks:
                for _ in range(job.in_flight):
                    tasks.create_task(work())


if __name__ == "__main__":
    job, watch = begin()
    Path(job.folder).mkdir()
    asyncio.run(export(job))
    end(watch)

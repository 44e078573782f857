"""The job that all rivals do: the mail of every mailbox, addresses and ids as pseudonyms, to Parquet.

Its columns are those of the exporter's own files (`schema`); which requests are made, what becomes of a record and how
the process is set up is the same for all of them. Not part of it, though the exporter does it too: journal, resumption,
the egress guard, the field ledger, limits of any kind, and the address book and the settings of each mailbox, which are
two more requests.
"""

import base64
import gc
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.measuring import Watch

SCOPE = "https://graph.microsoft.com/.default"
PREFER = 'odata.maxpagesize={page_items}, IdType="ImmutableId"'
RECIPIENTS = ("toRecipients", "ccRecipients", "bccRecipients", "replyTo")
IDS = ("id", "conversationId", "parentFolderId", "internetMessageId")
MOST_REMEMBERED = 200_000  # pseudonyms, as the exporter remembers
YOUNG_OBJECTS = 20_000  # of the collector, as the exporter sets it

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalJob:
    """Whom to ask for what, and where it goes. `schema` is the Arrow schema of the exporter's files, serialized."""

    url: str
    tenant: str
    client: str
    secret: str
    ca_file: str
    folder: str
    schema: str  # base64
    filter: str
    page_items: int
    in_flight: int
    salt: str
    run_id: str
    exported_at: str

    @property
    def token_url(self) -> str:
        return f"{self.url}/{self.tenant}/oauth2/v2.0/token"

    @property
    def query(self) -> dict[str, str]:
        """Of the first request to a mailbox."""
        return {
            "$filter": self.filter,
            "$orderby": "receivedDateTime",
            "$select": ",".join(name for name in self.columns.names if not name.startswith(("_", "@"))),
            "$top": str(self.page_items),
        }

    @property
    def headers(self) -> dict[str, str]:
        return {"Prefer": PREFER.format(page_items=self.page_items), "Accept-Encoding": "gzip"}

    @property
    def columns(self) -> pa.Schema:
        return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(self.schema)))


class Rows:
    """Records to rows."""

    def __init__(self, job: RivalJob, *, remembers: bool = True) -> None:
        """`remembers`: a pseudonym that was made once is not made again."""
        self._most_remembered = MOST_REMEMBERED if remembers else 0
        self._salt = job.salt.encode()
        self._names = [name for name in job.columns.names if name not in IDS]
        self._instants = [field.name for field in job.columns if pa.types.is_timestamp(field.type)]
        self._constants = {"_run_id": job.run_id, "_exported_at": datetime.fromisoformat(job.exported_at)}
        self._known: dict[str, str] = {}

    def row(self, record: Mapping[str, Any], owner: str) -> Record:
        """One record; what is not in the schema stays behind."""
        row = {name: record.get(name) for name in self._names}
        for name in self._instants:
            if isinstance(text := row[name], str):
                row[name] = datetime.fromisoformat(text)
        for name in IDS:
            if (value := record.get(name)) is not None:
                row[name] = self._hashed(value)
        for name in ("sender", "from"):
            row[name] = self._person(record.get(name))
        for name in RECIPIENTS:
            people = record.get(name)
            row[name] = None if people is None else [self._person(each) for each in people]
        if (flag := row.get("flag")) is not None:
            row["flag"] = {"flagStatus": flag.get("flagStatus")}
        row["_owner"] = self._pseudonym(owner)
        row.update(self._constants)
        return row

    def table(self, records: Iterable[Mapping[str, Any]], owner: str, schema: pa.Schema) -> pa.Table:
        """A page as a table."""
        return pa.Table.from_pylist([self.row(record, owner) for record in records], schema)

    def _person(self, person: Mapping[str, Any] | None) -> Record | None:
        if person is None:
            return None
        address = person["emailAddress"].get("address")
        return {"emailAddress": {"address": None if not address else self._pseudonym(address)}}

    def _pseudonym(self, text: str) -> str:
        token = self._known.get(text)
        if token is None:
            if len(self._known) >= self._most_remembered:
                self._known.clear()
            canonical = text.strip().lower() if "@" in text else text
            _, at, domain = canonical.partition("@")
            token = self._known[text] = self._hashed(canonical) + at + domain
        return token

    def _hashed(self, text: str) -> str:
        digest = sha256(text.encode() + self._salt).digest()
        return "t~" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def begin() -> tuple[RivalJob, Watch]:
    """The job of this process, which is set up as the exporter's is; its time starts now."""
    job = RivalJob(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
    gc.collect()
    gc.freeze()
    return job, Watch()


def end(watch: Watch) -> None:
    """Tell what it took."""
    print(json.dumps(watch.figures()), flush=True)

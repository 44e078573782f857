"""PyPI's emulator of Google Cloud Storage, with a front that knows preconditions.

The emulator keeps objects and upload sessions but ignores every precondition. The front adds what the real service
does: generation preconditions, checked for a session when it completes; sessions that remember their completion and
can be cancelled; units of 256 KiB; the checksum of an upload; paged listings; calls that take effect one at a time.
And faults.
"""

import base64
import io
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from importlib import import_module
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

from tests.servers.serving import serving

_server: Any = import_module("gcp_storage_emulator.server")  # has no types
_storage: Any = import_module("gcp_storage_emulator.storage")
_exceptions: Any = import_module("gcp_storage_emulator.exceptions")

Operation = Literal[
    "begin", "send", "finish", "status", "cancel", "insert", "get", "download", "list", "delete", "other"
]  # fmt: skip
Fault = Literal["fail", "lose", "deny", "drop"]
"""Unavailable or denied before it takes effect; after: the answer is lost, or the connection with it."""

UNIT_BYTES = 256 * 1024
_OBJECT = re.compile(r"/(?:upload/|download/)?storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?")
_NAME = re.compile(rb'"name"\s*:\s*"((?:[^"\\]|\\.)*)"')


@dataclass
class Dialect:
    """How the service behaves."""

    forbids: frozenset[Operation] = frozenset()
    refuses_with: int = 412  # without the right to delete, some see 403 where an object exists
    forgets_sessions: bool = False
    items_per_listing: int = 1000
    fault: Callable[[Operation, str], Fault | None] = lambda operation, name: None
    calls: list[tuple[str, Operation]] = field(default_factory=list)  # bucket and what is done there
    queries: list[dict[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)  # as they came, one for each call
    revoked: set[str] = field(default_factory=set)

    @property
    def seen(self) -> list[Operation]:
        """What was done, wherever."""
        return [operation for _, operation in self.calls]


@dataclass
class _Session:
    bucket: str
    name: str
    query: dict[str, str]
    completed: "_Answer | None" = None


@dataclass
class _Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class _Request:
    method: str
    query: dict[str, str]
    bucket: str
    name: str
    body: bytes
    span: re.Match[str] | None  # of Content-Range
    digest: str | None  # of X-Goog-Hash
    token: str

    @property
    def operation(self) -> Operation:
        """Which call of the JSON API this is."""
        if "upload_id" in self.query:
            return self._in_session()
        if self.method == "POST":
            return "begin" if self.query.get("uploadType") == "resumable" else "insert"
        if self.method == "GET" and self.name:
            return "download" if self.query.get("alt") == "media" else "get"
        return {"GET": "list", "DELETE": "delete"}.get(self.method, "other")  # type: ignore[return-value] # a table

    def _in_session(self) -> Operation:
        if self.method == "DELETE":
            return "cancel"
        assert self.span is not None
        first, last, total = self.span.groups()
        if first is None:
            return "finish" if total == "0" else "status"
        return "finish" if total != "*" and int(last) + 1 == int(total) else "send"


class StrictFront:
    """Stands before the emulator; one for all its requests."""

    def __init__(self) -> None:
        self.storage = _storage.Storage(use_memory_fs=True)
        self.dialect = Dialect()
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}

    def objects(self, bucket: str) -> dict[str, bytes]:
        """What a reader finds."""
        with self._lock:
            listed = self.storage.get_file_list(bucket)
            items = listed[0] if isinstance(listed, tuple) else listed
            return {item["name"]: self.storage.get_file(bucket, item["name"]) for item in items}

    def answer(self, request: _Request, emulator: Callable[[], _Answer]) -> _Answer | None:
        """The answer, or None where the connection breaks instead."""
        with self._lock:
            operation, dialect = request.operation, self.dialect
            session = self._sessions.get(request.query.get("upload_id", ""))
            name = session.name if session is not None else request.name
            dialect.calls.append((request.bucket, operation))
            dialect.queries.append(request.query)
            dialect.tokens.append(request.token)
            if request.token in dialect.revoked:
                return _error(401, "authError")
            fault = dialect.fault(operation, name)
            if fault == "fail":
                return _error(503, "backendError")
            if fault == "deny" or operation in dialect.forbids:
                return _error(403, "forbidden")
            answer = self._checked(request, session, emulator)
            if fault == "lose":
                return _error(503, "backendError")
            return None if fault == "drop" else answer

    def _checked(self, request: _Request, session: _Session | None, emulator: Callable[[], _Answer]) -> _Answer:
        if "upload_id" in request.query:
            if session is None:
                return _error(404, "notFound")
            return self._in_session(request, session, emulator)
        if request.operation != "begin" and self._is_blocked(request.query, request.bucket, request.name):
            return self._refusal()
        answer = emulator()
        if request.operation == "begin" and answer.status == 200:
            upload = parse_qs(urlsplit(answer.headers["Location"]).query)["upload_id"][0]
            self._sessions[upload] = _Session(request.bucket, request.name, request.query)
        if request.operation == "list":
            _cut(answer, request.query, self.dialect.items_per_listing)
        return answer

    def _in_session(self, request: _Request, session: _Session, emulator: Callable[[], _Answer]) -> _Answer:
        if request.operation == "cancel":
            del self._sessions[request.query["upload_id"]]
            return _Answer(499 if session.completed is None else 204)
        if session.completed is not None:
            return session.completed
        if request.operation == "send" and len(request.body) % UNIT_BYTES:
            return _error(400, "invalid")
        if request.operation == "finish":
            if self._is_blocked(session.query, session.bucket, session.name):
                return self._refusal()
            answer = emulator()
            if answer.status == 200 and not self._has_digest(session, request.digest):
                self.storage.delete_file(session.bucket, session.name)
                return _error(400, "invalid")
            if answer.status == 200:
                session.completed = answer
                if self.dialect.forgets_sessions:
                    del self._sessions[request.query["upload_id"]]
            return answer
        answer = emulator()
        if answer.status == 308 and not self.storage.get_resumable_byte_count(request.query["upload_id"]):
            answer.headers.pop("Range", None)
        return answer

    def _is_blocked(self, query: dict[str, str], bucket: str, name: str) -> bool:
        generation = 0
        with suppress(_exceptions.NotFound):
            generation = int(self.storage.get_file_obj(bucket, name)["generation"])
        wanted = query.get("ifGenerationMatch")
        return wanted is not None and int(wanted) != generation

    def _refusal(self) -> _Answer:
        return _error(self.dialect.refuses_with, "conditionNotMet")

    def _has_digest(self, session: _Session, digest: str | None) -> bool:
        content = self.storage.get_file(session.bucket, session.name)
        actual = base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()
        return digest in {None, f"crc32c={actual}"}


class _Handler(_server.RequestHandler):  # type: ignore[misc] # the emulator has no types
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, front: StrictFront, *arguments: Any) -> None:
        self._front = front
        self.rfile: Any
        self.wfile: Any
        super().__init__(front.storage, *arguments)

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self._front.answer(self._parsed(body), lambda: self._emulated(body))
        if answer is None:
            self.close_connection = True
            return
        self.send_response_only(answer.status, "-")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815 - names of the standard library

    def _parsed(self, body: bytes) -> _Request:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        found = _OBJECT.fullmatch(url.path)
        bucket, name = (found[1], unquote(found[2] or "")) if found else ("", "")
        if self.command == "POST" and not name and (named := _NAME.search(body[:65536])):
            name = json.loads(b'"' + named[1] + b'"')
        span = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", self.headers.get("Content-Range", ""))
        digest = self.headers.get("X-Goog-Hash")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return _Request(self.command, query, bucket, query.get("name", name), body, span, digest, token)

    def _emulated(self, body: bytes) -> _Answer:
        """What the emulator says to this request, caught before it is sent."""
        received, sent, caught = self.rfile, self.wfile, io.BytesIO()
        self.rfile, self.wfile = io.BytesIO(body), caught
        try:
            _server.Router(self).handle(self.command)
        finally:
            self.rfile, self.wfile = received, sent
        head, _, content = caught.getvalue().partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        headers.pop("Content-Length", None)
        if isinstance(self.connection, ssl.SSLSocket) and "Location" in headers:
            headers["Location"] = headers["Location"].replace("http:", "https:", 1)
        return _Answer(int(status.split(" ")[1]), headers, content)


def _error(status: int, reason: str) -> _Answer:
    error = {"error": {"code": status, "message": reason, "errors": [{"reason": reason, "message": reason}]}}
    return _Answer(status, {"Content-Type": "application/json"}, json.dumps(error).encode())


def _cut(answer: _Answer, query: dict[str, str], count: int) -> None:
    content = json.loads(answer.body)
    items, start = content.get("items") or [], int(query.get("pageToken", 0))
    content["items"] = items[start : start + count]
    if start + count < len(items):
        content["nextPageToken"] = str(start + count)
    answer.body = json.dumps(content).encode()


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


@contextmanager
def gcs_server(
    *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, StrictFront]]:
    """A server, on a free port of loopback unless told otherwise; yields its URL there."""
    front = StrictFront()
    server = _Server((host, port), partial(_Handler, front))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield f"http{'s' if tls is not None else ''}://127.0.0.1:{server.server_port}", front

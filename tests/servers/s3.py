"""moto's S3 behind TLS, with a front that is as strict as the real one and as odd as some others.

moto keeps objects and knows conditional writes. The front adds what it leaves out (an unknown multipart upload is an
answer and not a crash, Content-MD5 is verified, calls take effect one at a time), the dialects of other stores, and
faults.
"""

import base64
import hashlib
import io
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs

import trustme
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.servers.serving import serving

Operation = Literal[
    "put", "get", "head", "delete", "list", "begin", "part", "complete", "abort", "other"
]  # fmt: skip
Fault = Literal["fail", "lose", "deny", "conflict", "expire", "vanish"]
"""Before it takes effect: an internal error, a denial, a conflict, credentials that are over, a bucket that is gone.
After: the answer is lost (an internal error)."""

StartResponse = Callable[..., Any]
_UPLOAD_ID = re.compile(rb"<UploadId>([^<]+)</UploadId>")


@dataclass
class Dialect:
    """How a store behaves; the defaults are those of Amazon's."""

    ignores_conditions: bool = False
    ignores_multipart_condition: bool = False
    drops_refused_uploads: bool = False
    forbids: frozenset[Operation] = frozenset()
    keys_per_listing: int | None = None  # as many as the server gives by itself; asking for fewer breaks signatures
    recompletion: Literal["repeats", "gone", "taken"] = "repeats"
    fault: Callable[[Operation, str], Fault | None] = lambda operation, key: None
    seen: list[Operation] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


class StrictFront:
    """WSGI middleware before moto."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.dialect = Dialect()
        self._app = app
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._completed: set[str] = set()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        if len(body) < length:  # who sent it died meanwhile: nothing of it takes effect
            return _answer(start_response, "400 Bad Request", "IncompleteBody")
        environ["wsgi.input"] = io.BytesIO(body)
        operation, upload, key = _operation(environ)
        with self._lock:
            dialect = self.dialect
            dialect.seen.append(operation)
            dialect.headers.append({k: str(v) for k, v in environ.items() if k.startswith("HTTP_")})
            fault = dialect.fault(operation, key)
            error = (
                _FAULTS.get(fault or "")
                or (_FAULTS["deny"] if operation in dialect.forbids else None)
                or _wrong_digest(environ, body)
                or self._unknown_upload(operation, upload)
            )
            if error is not None:
                return _answer(start_response, *error)
            if dialect.ignores_conditions or (operation == "complete" and dialect.ignores_multipart_condition):
                environ.pop("HTTP_IF_NONE_MATCH", None)
                environ.pop("HTTP_IF_MATCH", None)
            if operation == "list" and dialect.keys_per_listing is not None:
                environ["QUERY_STRING"] += f"&max-keys={dialect.keys_per_listing}"
            status, headers, content = self._call(environ)
            self._remember(operation, upload, status, content)
            if fault == "lose":
                return _answer(start_response, "500 Internal Server Error", "InternalError")
            start_response(status, headers)
            return [content]

    def _unknown_upload(self, operation: Operation, upload: str) -> tuple[str, str] | None:
        if operation not in {"part", "complete"} or upload in self._open:
            return None
        if operation == "complete" and upload in self._completed:
            if self.dialect.recompletion == "repeats":
                return None
            if self.dialect.recompletion == "taken":
                return "412 Precondition Failed", "PreconditionFailed"
        return "404 Not Found", "NoSuchUpload"

    def _remember(self, operation: Operation, upload: str, status: str, content: bytes) -> None:
        if operation == "begin" and (found := _UPLOAD_ID.search(content)):
            self._open.add(found[1].decode())
        elif operation == "abort" or (
            operation == "complete" and status.startswith("412") and self.dialect.drops_refused_uploads
        ):
            self._open.discard(upload)
        elif operation == "complete" and status.startswith("200"):
            self._open.discard(upload)
            self._completed.add(upload)

    def _call(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        started: list[Any] = []
        content = b"".join(self._app(environ, lambda status, headers, *_: started.extend((status, headers))))
        return started[0], started[1], content


_FAULTS = {
    "fail": ("503 Slow Down", "SlowDown"),
    "deny": ("403 Forbidden", "AccessDenied"),
    "conflict": ("409 Conflict", "ConditionalRequestConflict"),
    "expire": ("400 Bad Request", "ExpiredToken"),
    "vanish": ("404 Not Found", "NoSuchBucket"),
}


def _operation(environ: dict[str, Any]) -> tuple[Operation, str, str]:
    method, query = environ["REQUEST_METHOD"], parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    upload, key = query.get("uploadId", [""])[0], environ["PATH_INFO"].strip("/").partition("/")[2]
    with_upload: dict[str, Operation] = {"PUT": "part", "POST": "complete", "DELETE": "abort"}
    of_object: dict[str, Operation] = {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}
    if upload:
        return with_upload[method], upload, key
    if "uploads" in query:
        return "begin", "", key
    if key:
        return of_object.get(method, "other"), "", key
    return ("list" if method == "GET" else "other"), "", ""


def _wrong_digest(environ: dict[str, Any], body: bytes) -> tuple[str, str] | None:
    stated = environ.get("HTTP_CONTENT_MD5")
    actual = base64.b64encode(hashlib.md5(body).digest()).decode()
    return None if stated in {None, actual} else ("400 Bad Request", "BadDigest")


def _answer(start_response: StartResponse, status: str, code: str) -> Iterable[bytes]:
    content = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))])
    return [content]


class _Handler(WSGIRequestHandler):
    """Keeps connections open, which werkzeug does not: a TLS handshake costs more than a request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """One exchange; the front reads every body to its end."""
        app: Callable[..., Iterable[bytes]] = self.server.app
        started: list[Any] = []
        answer = app(self.make_environ(), lambda status, headers, *_: started.extend((status, headers)))
        content = b"".join(answer)
        code, _, reason = started[0].partition(" ")
        self.send_response(int(code), reason)
        for name, value in started[1]:
            if self.command == "HEAD" or name.lower() != "content-length":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log(self, *args: Any, **options: Any) -> None:
        """Nothing."""


@contextmanager
def s3_server(authority: trustme.CA) -> Iterator[tuple[str, StrictFront]]:
    """A server on loopback, empty; yields its URL."""
    moto_api_backend.reset()  # its buckets outlive a server: they are of the process
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    front = StrictFront(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, front, threaded=True, request_handler=_Handler, ssl_context=context)
    with serving(server):
        yield f"https://127.0.0.1:{server.server_port}", front

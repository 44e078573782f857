"""A small HTTPS or HTTP server in a thread, for code that blocks: MSAL, requests, metadata services."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import trustme

from tests.servers.serving import serving


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Told:
    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Served:
    url: str
    ca_file: Path
    asked: list[Asked]


@contextmanager
def served(answer: Callable[[Asked], Told], *, folder: Path, tls: bool = True) -> Iterator[Served]:
    """Runs `answer` for every request; `asked` collects them."""
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            request = Asked(
                self.command,
                parts.path,
                {key: values[0] for key, values in parse_qs(parts.query).items()},
                {key: values[0] for key, values in parse_qs(self.rfile.read(length).decode()).items()},
                {key.lower(): value for key, value in self.headers.items()},
            )
            asked.append(request)
            told = answer(request)
            body = told.body.encode() if isinstance(told.body, str) else json.dumps(told.body).encode()
            self.send_response(told.status)
            for key, value in told.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = _serve  # noqa: N815 - the names http.server looks for
        do_POST = _serve  # noqa: N815 - as above
        do_PUT = _serve  # noqa: N815 - as above

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        scheme = "https" if tls else "http"
        yield Served(f"{scheme}://127.0.0.1:{server.server_port}", ca_file, asked)


@contextmanager
def tunnelling(upstream: Served) -> Iterator[tuple[str, list[str]]]:
    """A proxy by its URL, and the hosts that tunnels were asked for; whatever the host, `upstream` is at the end."""
    asked: list[str] = []
    port = urlsplit(upstream.url).port

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.path)
            with socket.create_connection(("127.0.0.1", port)) as far:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_carry, args=(far, self.connection))
                back.start()
                _carry(self.connection, far)
                back.join()
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}", asked


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Bytes from one end to the other, until there are no more."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)

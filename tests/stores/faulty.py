"""Servers and lines that fail in one chosen way."""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

from tests.servers import S3Server


def closed_port() -> S3Server:
    """A server that is gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return S3Server("gone", f"http://127.0.0.1:{listener.getsockname()[1]}")


@contextmanager
def silent() -> Iterator[S3Server]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield S3Server("silent", f"http://127.0.0.1:{listener.getsockname()[1]}")


@contextmanager
def answering(
    respond: Callable[[str, str], tuple[int, dict[str, str], bytes]],
) -> Iterator[S3Server]:
    """An HTTP server whose every answer is `respond(method, path)`: status, headers, body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, body = respond(self.command, self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield S3Server("answering", f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()


class Line:
    """A line to a real server that is cut, connection by connection, as `cuts` says.

    Each cut is (bytes of the answer that pass, how it then ends: "reset" or "end"); once
    they are used up, connections pass untouched.
    """

    def __init__(self, server: S3Server, cuts: list[tuple[int, str]]) -> None:
        self.cuts = deque(cuts)
        self.connections = 0
        there = urlsplit(server.endpoint)
        self._there = (there.hostname or "", there.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = S3Server("line", f"http://127.0.0.1:{self._listener.getsockname()[1]}")
        Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            cut = self.cuts.popleft() if self.cuts else (None, "end")
            far = socket.create_connection(self._there)
            Thread(target=_copy, args=(near, far, None, "end"), daemon=True).start()
            Thread(target=_copy, args=(far, near, *cut), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket, limit: int | None, end: str) -> None:
    passed = 0
    try:
        while data := source.recv(65536):
            if limit is not None:
                data = data[: limit - passed]
            target.sendall(data)
            passed += len(data)
            if limit is not None and passed >= limit:
                if end == "reset":
                    linger = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN
                    target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    target.shutdown(socket.SHUT_RD)  # wakes the other copier, which holds it open
                    target.close()
                else:
                    target.shutdown(socket.SHUT_RDWR)
                source.close()
                return
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return

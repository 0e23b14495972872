"""A misbehaving line to a real S3 server: it passes requests on until it is told not to.

On the loopback alone, and in threads of the test. The signature of a request covers its
`Host`, so that is passed on as it came.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.servers import S3Server


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    Args:
        words: as the table names it.
        status: of an answer that the proxy gives itself; 0 where it breaks the line.
        code: S3's word in that answer.
        methods: requests that it happens to.
    """

    words: str
    status: int = 0
    code: str = ""
    methods: frozenset[str] = frozenset({"GET", "PUT", "POST", "HEAD", "DELETE"})


REFUSED = Fault("refused connections")
RESET = Fault("a line reset in the middle", methods=frozenset({"GET", "PUT"}))
TRUNCATED = Fault("an answer cut short", methods=frozenset({"GET"}))
STALLED = Fault("a server that stops answering")
BROKEN = Fault("500 InternalError", 500, "InternalError")
SLOW_DOWN = Fault("503 SlowDown", 503, "SlowDown")
EXPIRED = Fault("credentials that expire", 403, "ExpiredToken")
SKEWED = Fault("a wrong clock", 403, "RequestTimeTooSkewed")
FULL = Fault("a store without room", 507, "XMinioStorageFull", frozenset({"PUT", "POST"}))


@dataclass
class Proxy:
    """What the line does now; changed by the test while it works.

    Args:
        server: as its users reach it, through here.
    """

    server: S3Server
    fault: Fault | None = None
    after: int = 0  # so many requests that could fail pass before
    once: bool = False  # every kind of request fails the first time only
    met: int = 0  # how many failed
    _passed: int = 0
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, fault: Fault | None, *, after: int = 0, once: bool = False) -> None:
        """From now on, fail like this; None passes everything."""
        with self._guard:
            self.fault, self.after, self.once = fault, after, once
            self.met = self._passed = 0
            self._seen.clear()

    def decide(self, method: str, path: str) -> Fault | None:
        """Whether this request fails, and how."""
        with self._guard:
            fault = self.fault
            if fault is None or method not in fault.methods:
                return None
            self._passed += 1
            if self._passed <= self.after:
                return None
            if self.once:
                kind = (method, _folder(path))
                if kind in self._seen:
                    return None
                self._seen.add(kind)
            self.met += 1
            return fault


def _folder(path: str) -> str:
    """manifests, data, images ...: what kind of object a request is about."""
    known = ("manifests", "data", "images", "pins", "drills", "desk-check")
    return next((name for name in known if f"/{name}/" in path), "")


@contextmanager
def misbehaving(server: S3Server) -> Iterator[Proxy]:
    """A line to `server` that does what its `fail` was told."""
    there = urlsplit(server.endpoint)
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            fault = proxy.decide(self.command, self.path)
            if fault is REFUSED:
                self._reset()
                return
            if fault is RESET and self.command == "PUT":
                self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
                self._reset()
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if fault is STALLED:
                stop.wait(20)
                self._reset()
                return
            if fault is not None and fault.status:
                self._refuse(fault)
                return
            self._pass_on(body, fault)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def _pass_on(self, body: bytes, fault: Fault | None) -> None:
            far = http.client.HTTPConnection(there.hostname or "", there.port, timeout=60)
            try:
                far.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        far.putheader(name, value)
                far.endheaders(body)
                came = far.getresponse()
                data = came.read()
                self.send_response(came.status)
                for name, value in came.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                if came.getheader("Content-Length") is None:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
            finally:
                far.close()
            if self.command == "HEAD":
                return
            if fault in (RESET, TRUNCATED):
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                self.close_connection = True
                if fault is RESET:
                    self._reset()
                return
            self.wfile.write(data)

        def _refuse(self, fault: Fault) -> None:
            body = f"<Error><Code>{fault.code}</Code><Message>no</Message></Error>".encode()
            if self.command == "HEAD":
                body = b""
            self.send_response(fault.status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _reset(self) -> None:
            linger = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            with suppress(OSError):
                self.connection.close()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError, ValueError):  # the line was cut on purpose
                super().handle()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def shutdown_request(self, request: Any) -> None:
            with suppress(OSError):
                super().shutdown_request(request)

    listening = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    proxy = Proxy(
        S3Server("proxy", f"http://127.0.0.1:{listening.server_address[1]}", server.folder)
    )
    try:
        yield proxy
    finally:
        stop.set()
        listening.shutdown()
        listening.server_close()

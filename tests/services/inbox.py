"""Somebody to tell: a server that takes messages and pings, and a desk that sends them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic import SecretStr
from sqlalchemy import select

from db.control import alert_changes
from db.engine import read
from services.core.context import Context
from services.watch.alerting import Condition
from services.watch.posture import Tone

FAILED = Condition("backup.failed", "", Tone.BAD, "The last backup failed.", "Mend it.")
PASSWORD, TOKEN = "hunter2hunter2", "t0ken-in-the-path"
CLOSED = "json://127.0.0.1:9/"


@dataclass
class Inbox:
    """A server that takes messages, or does not."""

    port: int = 0
    status: int = 200
    messages: list[dict] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"json://desk:{PASSWORD}@127.0.0.1:{self.port}/{TOKEN}"

    @property
    def titles(self) -> list[str]:
        return [message["title"].partition(" (")[0] for message in self.messages]


@contextmanager
def listening() -> Iterator[Inbox]:
    """The server on a port of its own, until the end of the block."""
    box = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if box.status == 200:
                box.messages.append(json.loads(body))
            self.send_response(box.status)
            self.end_headers()

        def do_GET(self) -> None:
            box.pings.append(self.path)
            self.send_response(box.status)
            self.end_headers()

        def log_message(self, *_said: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        box.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield box
        server.shutdown()


def telling(ctx: Context, *addresses: str, **more: object) -> Context:
    """The same desk with these targets."""
    urls = SecretStr(",".join(addresses)) if addresses else None
    return replace(ctx, settings=ctx.settings.model_copy(update={"alert_urls": urls, **more}))


def errors(ctx: Context) -> str:
    """What the targets that took nothing answered."""
    with read(ctx.control) as connection:
        return " ".join(filter(None, connection.scalars(select(alert_changes.c.delivery_error))))

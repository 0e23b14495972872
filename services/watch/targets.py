"""The way out: apprise for messages to people, plain HTTP for the dead man's switch.

Nothing of an address ever leaves this module: it holds passwords and tokens. A target is
called by its service and its place in the setting.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from services.watch.posture import Tone

SECONDS = 20.0
"""A target that has not answered by then counts as not reached."""
PING_SECONDS = 4.0
_FROM = "InsightShop Admin"
_SHORTEST_SECRET = 4
_SILENT = "It did not answer in time."


@dataclass(frozen=True)
class Message:
    """What people get to read.

    Args:
        tone: how much it matters; None: something is over.
    """

    title: str
    body: str
    tone: Tone | None


@dataclass(frozen=True)
class Outcome:
    """What came of one target.

    Args:
        key: names the target without saying what its address is.
        name: what it is called on pages.
        error: empty when the message was taken.
    """

    key: str
    name: str
    error: str


def send(
    addresses: tuple[str, ...], message: Message, reached: Collection[str] = ()
) -> tuple[Outcome, ...]:
    """Send a message to every target but those that have it; at most `SECONDS` in all.

    Args:
        addresses: apprise addresses; secrets.
        reached: keys of targets that took this message before.
    """
    wanted = [
        (key, number, address)
        for number, address in enumerate(addresses, 1)
        if (key := _key(address)) not in reached
    ]
    said: dict[str, tuple[str, str]] = {}

    def work(key: str, number: int, address: str) -> None:
        said[key] = _send(number, address, message)

    _side_by_side([partial(work, *one) for one in wanted], SECONDS)
    return tuple(
        Outcome(key, *said.get(key, (f"target {number}", _SILENT))) for key, number, _a in wanted
    )


def ping(address: str, ending: str = "") -> str:
    """Tell a dead man's switch something; at most `PING_SECONDS`.

    Args:
        address: its web address; a secret.
        ending: added to its path: `/start`, `/fail` or nothing.

    Returns:
        What went wrong, without the address; empty when it was taken.
    """
    said: list[str] = []
    _side_by_side([lambda: said.append(_ping(address, ending))], PING_SECONDS)
    return said[0] if said else _SILENT


def _side_by_side(work: list[Callable[[], None]], seconds: float) -> None:
    # Threads of their own: a name server that is silent can't be given a time by a socket.
    threads = [threading.Thread(target=each, daemon=True, name="message") for each in work]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _send(number: int, address: str, message: Message) -> tuple[str, str]:
    """Name of the target, and what went wrong."""
    from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType, PersistentStoreMode

    tones = {
        None: NotifyType.SUCCESS,
        Tone.NOTE: NotifyType.INFO,
        Tone.WARNING: NotifyType.WARNING,
        Tone.BAD: NotifyType.FAILURE,
    }
    asset = AppriseAsset(
        app_id=_FROM,
        app_desc=_FROM,
        app_url="",
        image_url_mask=None,
        image_url_logo=None,
        async_mode=False,
        storage_mode=PersistentStoreMode.MEMORY,
    )
    with _Listener() as listener:
        try:
            target: Any = Apprise.instantiate(address, asset=asset)
            if target is None:
                return f"target {number}", "It is no address that apprise knows."
            name = f"{target.service_name} (target {number})"
            taken = target.notify(
                body=message.body,
                title=message.title,
                notify_type=tones[message.tone],
                body_format=NotifyFormat.TEXT,
            )
        except Exception as error:  # whatever a service's module raises, the others go on
            return f"target {number}", _without_secrets(type(error).__name__, address)
    if taken:
        return name, ""
    return name, _without_secrets(listener.said or "It did not take the message.", address)


class _Listener(logging.Handler):
    """What apprise says on this thread; kept from the desk's own log, which holds no address."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last thing said."""
        if record.thread == self._thread:
            self.said = record.getMessage()

    def __enter__(self) -> _Listener:
        logger = logging.getLogger("apprise")
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.addHandler(self)
        return self

    def __exit__(self, *_how: object) -> None:
        logging.getLogger("apprise").removeHandler(self)


def _ping(address: str, ending: str) -> str:
    try:
        parts = urlsplit(address)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        path = (parts.path.rstrip("/") if ending else parts.path) + ending or "/"
        connection = kind(parts.hostname or "", parts.port, timeout=PING_SECONDS)
        try:
            connection.request(
                "GET",
                f"{path}?{parts.query}" if parts.query else path,
                headers={"User-Agent": _FROM},
            )
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"It can't be reached ({type(error).__name__})."
    return "" if 200 <= status < 300 else f"It answered with {status}."


def _key(address: str) -> str:
    # Long enough to tell a few targets apart, too short to try out secrets with.
    return hashlib.sha256(address.encode()).hexdigest()[:8]


def _without_secrets(said: str, address: str) -> str:
    rest = address.partition("://")[2]
    parts = {part for text in (rest, unquote(rest)) for part in re.split(r"[:/@?&=,#;\s]+", text)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET:
            said = said.replace(part, "***")
    return said[:300]

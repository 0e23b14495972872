"""Being asked to stop (SIGTERM, SIGINT): heard at the next safe place, never in the middle of one.

An error raised by the signal itself may strike anywhere: while a pool starts a thread (Python then
waits for that thread for ever), while a folder is removed, in a destructor that swallows it. So
the handler only takes a note, and long work asks for it where it may end: at each step, each
piece of a stream, each turn of a waiting loop. Who can't wait asks again: the second signal ends
the process at once, as `kill -9` does, and the next start tidies up as after that.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_LOOK_SECONDS = 0.2
_ENDED_BY = 128  # a shell's exit code of a process that a signal ended starts here


class Stop(BaseException):
    """Raised where the work may end; carries the signal's name. No `Exception`: what tries
    again, or goes on with the next backup, must not take it for a failure of this one."""


class _Asked:
    """What the handler noted, for this process: signals belong to no job."""

    by: str | None = None
    answered = False


def check() -> None:
    """End the work here when the process was asked to stop.

    Nothing happens on other threads than the main one, and while an error is handled: what
    tidies up is not to be interrupted.

    Raises:
        Stop: it was asked.
    """
    if _Asked.by is None or threading.current_thread() is not threading.main_thread():
        return
    if sys.exc_info()[0] is None:
        _Asked.answered = True
        raise Stop(_Asked.by)


def pause(seconds: float) -> None:
    """Sleep, unless asked to stop.

    Args:
        seconds: how long.

    Raises:
        Stop: it was asked.
    """
    until = time.monotonic() + seconds
    check()
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_SECONDS))
        check()


@contextmanager
def heard() -> Iterator[None]:
    """Take note of SIGTERM and SIGINT inside, where this is the main thread.

    A note that came too late for the work inside is kept for what this process does next.
    """
    inside_another = signal.getsignal(signal.SIGTERM) is _note
    if inside_another or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if _Asked.answered:
            _Asked.by, _Asked.answered = None, False


def _note(number: int, _frame: FrameType | None) -> None:
    if _Asked.by is not None:
        os.write(2, b"Ended at once; the next start tidies up what was half done.\n")
        os._exit(_ENDED_BY + number)
    _Asked.by = signal.Signals(number).name

"""One tree of errors. A person sees `message` and `hint`; the log has the traceback.

Exit codes of the headless doors follow from the class (DESIGN, rules of the house):
0 done, 1 failed, 2 network, 3 configuration or usage, 4 bug.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3

from sqlalchemy.exc import DBAPIError

log = logging.getLogger("desk")

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_NETWORK = 2
EXIT_USAGE = 3
EXIT_BUG = 4


class DeskError(Exception):
    """An error that is written for a person.

    Args:
        message: what happened and what was not changed, one or two sentences.
        hint: what to do next; may be empty.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Refused(DeskError):
    """The desk won't do this: not allowed, not valid, in conflict, or busy."""


class Denied(Refused):
    """The actor lacks the permission."""


class Invalid(Refused):
    """The input can't be taken as it is."""


class Conflict(Refused):
    """The world moved since the caller looked at it."""


class Busy(Refused):
    """Another job holds what this one needs."""


class Archived(Refused):
    """The object lies in an archive and has to be brought back before it can be read."""


class Transient(DeskError):
    """The network or a remote service failed; the same call may succeed later."""

    exit_code = EXIT_NETWORK


class Broken(DeskError):
    """Stored or captured data is not what it must be."""


class Misconfigured(DeskError):
    """A setting is wrong or missing."""

    exit_code = EXIT_USAGE


def control_error(error: BaseException, where: str = "CONTROL_DATABASE_URL") -> DeskError | None:
    """What a database error that nobody put into words means: the desk's own is in trouble.

    Args:
        where: the file or, when that is not known here, the variable that names it.

    Returns:
        None where it is a bug of the desk.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.DatabaseError):
        from services.core.server_errors import server_error  # it is built on this module

        return server_error(error, f"The desk's own database ({where})", "CONTROL_DATABASE_URL")
    text = str(cause).lower()
    for signs, kind, what, hint in _CONTROL_TROUBLE:
        if any(sign in text for sign in signs):
            return kind(f"The desk's own database ({where}) {what}", hint)
    return None


_CONTROL_TROUBLE: tuple[tuple[tuple[str, ...], type[DeskError], str, str], ...] = (
    (
        ("locked", "busy"),
        Transient,
        "is locked by another program; nothing was changed.",
        "Wait a moment and try again. If it stays so, see which program holds it open.",
    ),
    (
        ("readonly", "read-only"),
        Misconfigured,
        "can only be read; nothing was changed.",
        "Give the account that runs the desk write permission on the file and its folder.",
    ),
    (
        ("malformed", "not a database"),
        Broken,
        "is damaged or no database. The shop and the backups are not affected.",
        "Move the file away and start again: the list of backups comes back from the store, "
        "accounts are made anew. To keep accounts and the audit log, put the newest backup's "
        "control.sqlite3.zst in its place, unpacked with `zstd -d`.",
    ),
    (
        ("full", "no space", "disk i/o"),
        Broken,
        "could not be written: the disk is full or failing.",
        "Free some space on that disk, then try again.",
    ),
    (
        ("no such table", "no such column", "unable to open"),
        Misconfigured,
        "is not there, or not the desk's.",
        "If it was removed or replaced while the desk ran, start the desk again: it makes a new "
        "one, and the list of backups comes back from the store.",
    ),
)


def describe(error: BaseException) -> tuple[str, str, str]:
    """Turn any error into what a person may see.

    A `DeskError` keeps its own words, and a database that is locked, full or damaged has
    some. Anything else is a bug: its text may hold
    secrets or data, so the person gets an id and the log gets the traceback.

    Returns:
        (message, hint, error id); the id is empty for a `DeskError`.
    """
    known = _known(error)
    if known is not None:
        return known.message, known.hint, ""
    error_id = secrets.token_hex(4)
    log.error("unexpected error %s", error_id, exc_info=error)
    return (
        "Something went wrong that the desk did not foresee.",
        f"Whoever runs the server finds what happened in the log, under {error_id}.",
        error_id,
    )


def exit_code(error: BaseException) -> int:
    """Exit code of a headless door that ended with `error`."""
    known = _known(error)
    return known.exit_code if known is not None else EXIT_BUG


def _known(error: BaseException) -> DeskError | None:
    """The error in words, where there are some: a full disk or a locked database is no bug."""
    if isinstance(error, DeskError):
        return error
    found = control_error(error)
    if found is not None:
        log.warning("a database error that was said as %s: %s", type(found).__name__, error)
    return found

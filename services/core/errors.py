"""One tree of errors. A person sees `message` and `hint`; the log has the traceback.

Exit codes of the headless doors follow from the class (DESIGN, rules of the house):
0 done, 1 failed, 2 network, 3 configuration or usage, 4 bug.
"""

from __future__ import annotations

import logging
import secrets

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


class Transient(DeskError):
    """The network or a remote service failed; the same call may succeed later."""

    exit_code = EXIT_NETWORK


class Broken(DeskError):
    """Stored or captured data is not what it must be."""


class Misconfigured(DeskError):
    """A setting is wrong or missing."""

    exit_code = EXIT_USAGE


def describe(error: BaseException) -> tuple[str, str, str]:
    """Turn any error into what a person may see.

    A `DeskError` keeps its own words. Anything else is a bug: its text may hold
    secrets or data, so the person gets an id and the log gets the traceback.

    Returns:
        (message, hint, error id); the id is empty for a `DeskError`.
    """
    if isinstance(error, DeskError):
        return error.message, error.hint, ""
    error_id = secrets.token_hex(4)
    log.error("unexpected error %s", error_id, exc_info=error)
    return (
        "Something went wrong that the desk did not foresee.",
        f"Look for {error_id} in the log; nobody else can see what happened.",
        error_id,
    )


def exit_code(error: BaseException) -> int:
    """Exit code of a headless door that ended with `error`."""
    return error.exit_code if isinstance(error, DeskError) else EXIT_BUG

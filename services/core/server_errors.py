"""What an error of a database server means to a person.

The text of a server's error may be in any language and may quote data: the code (SQLSTATE)
decides where there is one, and neither goes into the message.
"""

from __future__ import annotations

import re

from sqlalchemy.exc import DBAPIError

from services.core.errors import Broken, DeskError, Invalid, Misconfigured, Transient


def server_error(
    error: BaseException, what: str, variable: str, unchanged: str = "nothing was changed"
) -> DeskError | None:
    """Put an error of psycopg, plain or wrapped by SQLAlchemy, into words.

    Args:
        what: begins the sentence: "The shop's database".
        variable: the setting that holds its address.
        unchanged: ends the sentence.

    Returns:
        None where it is no error of a server, or one that only a bug explains.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not is_server_error(cause):
        return None
    state = str(getattr(cause, "sqlstate", None) or "")
    text = str(cause).lower()
    for states, signs, kind, said, hint in _WORDS:
        by_state = bool(state) and state.startswith(states)
        if by_state or (not state and any(re.search(sign, text) for sign in signs)):
            return kind(f"{what} {said}; {unchanged}.", hint.format(variable=variable))
    if not state and type(cause).__name__ == "OperationalError":
        # No code, no sign that is known: it never came to a conversation.
        return Transient(f"{what} can't be reached; {unchanged}.", _REACH.format(variable=variable))
    return None


def is_server_error(error: BaseException | None) -> bool:
    """Whether psycopg raised it; asked without importing psycopg."""
    return type(error).__module__.split(".")[0] == "psycopg"


def is_missing_database(error: BaseException | None) -> bool:
    """Whether the server answered that it has no database of that name."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not is_server_error(cause):
        return False
    state = getattr(cause, "sqlstate", None)
    return state == "3D000" or (not state and _NO_DATABASE.search(str(cause).lower()) is not None)


_NO_DATABASE = re.compile(r'database ".*" does not exist')
_REACH = "See whether the server runs and its address in {variable} is right, then try again."
_AGAIN = "Try again in a moment."

_Words = tuple[tuple[str, ...], tuple[str, ...], type[DeskError], str, str]
# Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
_WORDS: tuple[_Words, ...] = (
    (
        ("28",),
        ("authentication failed", "no password supplied", "pg_hba", r'role ".*" does not exist'),
        Misconfigured,
        "refused the desk's sign-in",
        "Check the user and the password in {variable}, and that the server lets this machine in.",
    ),
    (
        ("3D000",),
        (r'database ".*" does not exist',),
        Misconfigured,
        "is not there: its server has no database of that name",
        "Check the name in {variable}, or restore the database from a backup.",
    ),
    (
        ("53300",),
        ("too many connections", "too many clients", "connection slots"),
        Transient,
        "has no free connection: its server serves as many as it may",
        "Wait a moment and try again, or raise max_connections there.",
    ),
    (
        ("57P03",),
        ("starting up", "shutting down", "not accepting", "not currently accepting", "recovery"),
        Transient,
        "does not accept connections now: its server starts, stops or is being exchanged",
        _AGAIN,
    ),
    (
        ("57P", "08"),
        ("server closed", "terminat", "connection reset", "connection is (closed|lost)", "broken"),
        Transient,
        "cut the connection",
        "See whether its server was restarted, then try again.",
    ),
    (
        (),
        ("ssl", "certificate", "tls"),
        Misconfigured,
        "can't be reached over a protected connection",
        "Check sslmode and the certificates that {variable} names.",
    ),
    (
        (),
        ("refused", "timeout", "resolve", "translate host", "not known", "unreachable", "no route"),
        Transient,
        "can't be reached",
        _REACH,
    ),
    (
        ("55P03", "55006", "40P01", "40001"),
        (),
        Transient,
        "is locked by another program",
        "Wait a moment and try again. If it stays so, pg_stat_activity shows who holds it.",
    ),
    (("57014",), (), Transient, "took longer than it may", _AGAIN),
    (
        ("42501",),
        (),
        Misconfigured,
        "does not let the desk's role do this",
        "Let the role in {variable} own the shop's tables, or grant it the rights.",
    ),
    (
        ("25006",),
        (),
        Misconfigured,
        "can only be read (is it a standby?)",
        "Let {variable} name the server that may be written.",
    ),
    (
        ("53100", "58030"),
        (),
        Broken,
        "could not be written: the disk of its server is full or failing",
        "Free some space on that disk, then try again.",
    ),
    (("53",), (), Transient, "lacks room to work: its server is out of resources", _AGAIN),
    (
        ("XX001", "XX002"),
        (),
        Broken,
        "is damaged",
        "Restore it from a backup (Backups page, or `python services/restore.py latest`).",
    ),
    (
        ("22021", "22P05"),
        (r"nul \(0x00\)",),
        Invalid,
        "can't hold one of the characters that were entered",
        "Leave out characters that are no text (such as a zero byte), then try again.",
    ),
    (
        ("22001",),
        (),
        Invalid,
        "has no room for a text this long",
        "Shorten it, then try again.",
    ),
)

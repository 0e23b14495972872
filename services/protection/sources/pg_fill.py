"""Fill a side database with `pg_restore`, from a dump in PostgreSQL's custom format.

Nothing of a dump is ever given to psql: it exits with 0 on errors, and what it reads may be
commands for the machine that it runs on.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.core.errors import Broken, DeskError, Misconfigured, Transient
from services.protection.sources.pg_connect import (
    connect,
    database_argument,
    environment,
    said,
)
from services.protection.sources.pg_side import not_live
from services.protection.sources.pg_tools import Tools, tools_of

if TYPE_CHECKING:
    from psycopg import Connection

RESTORE_SECONDS = 6 * 3600.0
"""How long `pg_restore` may take before it is taken for stuck."""
_STOP_SECONDS = 10
_MOST_ERROR = 300
_QUICKLY = "-c synchronous_commit=off"
"""A side database is worth nothing until it is whole; the exchange itself is synchronous."""


def restore_into(
    url: str,
    name: str,
    dump: Path,
    jobs: int = 2,
    watch: Callable[[float], None] = lambda _share: None,
    *,
    folders: str | None = None,
    seconds: float = RESTORE_SECONDS,
) -> tuple[str, ...]:
    """Fill an empty database of the same server from a dump in PostgreSQL's custom format.

    Args:
        name: of the database, never the shop's own.
        jobs: how many tables at once.
        watch: called with the share that is done, 0 to 1.
        folders: the setting POSTGRES_TOOLS.
        seconds: after which it is given up.

    Returns:
        What was left out, in words: rights of roles that this server does not have.

    Raises:
        Broken: the dump can't be read, or does not fit the server.
        DeskError: the server, in words. The database is then half filled: drop it.
    """
    not_live(url, name)
    with connect(url, name) as connection, said():  # the shop's own may be lost
        tools = tools_of(connection.info.server_version // 10_000, folders)
        items = _contents(tools, dump)
        strangers = _strangers(connection, tools, dump)
    command = [
        *(str(tools.pg_restore), f"--dbname={database_argument(name)}", f"--jobs={max(1, jobs)}"),
        *("--exit-on-error", "--no-password", "--verbose"),
        *(["--no-owner", "--no-privileges"] if strangers else []),
        str(dump),
    ]
    _run(command, environment(url, _QUICKLY), items, watch, seconds)
    with connect(url, name) as connection, said():
        connection.execute("ANALYZE")  # without statistics the shop would crawl at first
    if not strangers:
        return ()
    return (
        f"Rights: the dump names roles that can't be used here ({', '.join(strangers)}); "
        "everything belongs to the desk's role.",
    )


def _contents(tools: Tools, dump: Path) -> int:
    """How many things a dump holds."""
    done = _read_dump(tools, dump, "--list")
    return sum(1 for line in done.splitlines() if line and not line.startswith(";"))


def _read_dump(tools: Tools, dump: Path, *options: str) -> str:
    done = subprocess.run(
        [str(tools.pg_restore), *options, str(dump)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        check=False,
    )
    if done.returncode:
        raise Broken(
            f"{dump.name} can't be read as a dump by pg_restore {tools.version}: "
            f"{first_error(done.stderr)}. Nothing was changed.",
            "Use another snapshot, or the tools of the version that made it (see its manifest).",
        )
    return done.stdout


_ROLE = re.compile(
    r"^(?:ALTER .* OWNER TO|GRANT .* TO|REVOKE .* FROM|ALTER DEFAULT PRIVILEGES FOR ROLE) "
    r'("(?:[^"]|"")+"|\w+)',
    re.MULTILINE,
)


def _strangers(connection: Connection[Any], tools: Tools, dump: Path) -> tuple[str, ...]:
    """The roles that a dump names and this connection can't act for, or that are not there."""
    # The statements are read for the names in them; nothing of this is ever executed.
    said_in = _read_dump(tools, dump, "--schema-only", "--file=-")
    named = {
        role[1:-1].replace('""', '"') if role.startswith('"') else role
        for role in _ROLE.findall(said_in)
    } - {"PUBLIC", "public", "CURRENT_USER", "pg_database_owner"}
    owning = {
        role[1:-1].replace('""', '"') if role.startswith('"') else role
        for role in _OWNER.findall(said_in)
    }
    usable = connection.execute(
        "SELECT rolname, pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = ANY(%s)",
        (list(named),),
    ).fetchall()
    there, mine = {name for name, _ in usable}, {name for name, member in usable if member}
    return tuple(sorted((named - there) | ((owning & named) - mine)))


_OWNER = re.compile(r'^ALTER .* OWNER TO ("(?:[^"]|"")+"|\w+)', re.MULTILINE)


def _run(
    command: list[str],
    values: dict[str, str],
    items: int,
    watch: Callable[[float], None],
    seconds: float,
) -> None:
    """Run pg_restore in a session of its own, so that its workers end with it."""
    child = subprocess.Popen(
        command,
        env=values,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    late = threading.Event()

    def give_up() -> None:
        late.set()
        stop(child)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    lines: list[str] = []
    try:
        seen = 0
        for line in child.stderr or ():
            if " error: " in line or lines:
                lines = [*lines, line][-20:]
            elif _ITEM.search(line):
                seen += 1
                watch(min(1.0, seen / max(1, items)))
        child.wait()
    finally:
        timer.cancel()
        stop(child)
    if late.is_set():
        raise Transient(
            f"pg_restore was not done after {seconds:,.0f} s and was stopped; the shop's own "
            "database was not touched.",
            "See what keeps the server busy, then try again.",
        )
    if child.returncode:
        raise _restore_error("".join(lines), child.returncode)


_ITEM = re.compile(r"pg_restore: (creating|finished item|executing SEQUENCE SET)")


def stop(child: subprocess.Popen[Any]) -> None:
    """End a program and what it started; none that ended is an error."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(child.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_SECONDS)
    if child.stderr is not None:
        child.stderr.close()


def _restore_error(text: str, code: int) -> DeskError:
    shown = first_error(text) if text else f"it ended with code {code}"
    lower = text.lower()
    if "extension" in lower and ("not available" in lower or "control file" in lower):
        return Misconfigured(
            f"The server lacks an extension that the dump needs ({shown}); the shop's own database "
            "was not touched.",
            "Install the extension on the server, then try again.",
        )
    if any(sign in lower for sign in ("server closed", "terminating", "could not connect", "lost")):
        return Transient(
            f"The server ended the restore ({shown}); the shop's own database was not touched.",
            "See whether the server was restarted, then try again.",
        )
    return Broken(
        f"pg_restore could not put the dump into the new database: {shown}. The shop's own "
        "database was not touched.",
        "The log of the server says more. Another snapshot may do.",
    )


def first_error(text: str) -> str:
    """The first complaint of a program, in one line."""
    for line in text.splitlines():
        _before, found, after = line.partition("error: ")
        if found:
            return " ".join(after.split())[:_MOST_ERROR].rstrip(".")
    return " ".join(text.split())[:_MOST_ERROR] or "no reason was given"

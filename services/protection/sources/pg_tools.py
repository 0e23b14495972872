"""Find `pg_dump` and `pg_restore` of the server's own major version.

Tools of another version are no substitute: an older pg_dump refuses a newer server, an older
pg_restore can't read a newer dump, and what a newer pg_dump writes may not go back into the
older server that it came from.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.core.errors import Misconfigured
from services.protection.sources.pg_connect import connect

_USUAL = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
    "/Library/PostgreSQL/*/bin",
)
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
_SECONDS = 20


@dataclass(frozen=True)
class Tools:
    """The programs of one version."""

    folder: Path
    version: str  # "16.14"
    major: int

    @property
    def pg_dump(self) -> Path:
        """Writes a dump."""
        return self.folder / "pg_dump"

    @property
    def pg_restore(self) -> Path:
        """Reads one."""
        return self.folder / "pg_restore"

    @property
    def psql(self) -> Path:
        """For the plain SQL of legacy backups alone; may be missing."""
        return self.folder / "psql"


def tools_for(url: str, folders: str | None = None) -> Tools:
    """The programs that fit a server.

    Args:
        folders: the setting POSTGRES_TOOLS: where to look first.

    Raises:
        Misconfigured: none of those that are installed fit; names what is there and what is
            needed.
        DeskError: the server can't be reached.
    """
    with connect(url) as connection:
        major = connection.info.server_version // 10_000
    return tools_of(major, folders)


def tools_of(major: int, folders: str | None = None) -> Tools:
    """The programs of a major version.

    Raises:
        Misconfigured: they are not installed; names what is.
    """
    found = installed(folders)
    for tools in found:
        if tools.major == major:
            return tools
    there = ", ".join(f"{tools.version} in {tools.folder}" for tools in found) or "none at all"
    raise Misconfigured(
        f"The server runs PostgreSQL {major}, and only pg_dump and pg_restore of version {major} "
        f"fit it. Found on this machine: {there}. Nothing was changed.",
        f"Install the client programs of PostgreSQL {major} (Debian: postgresql-client-{major}), "
        "or name their folder in POSTGRES_TOOLS.",
    )


def installed(folders: str | None = None) -> list[Tools]:
    """Every set of programs on this machine, those in POSTGRES_TOOLS first."""
    found: dict[Path, Tools] = {}
    for folder in _places(folders):
        tools = _look(folder)
        if tools is not None:
            found.setdefault(tools.folder.resolve(), tools)
    return list(found.values())


def _places(folders: str | None) -> Iterator[Path]:
    for listed in (folders, os.environ.get("PATH")):
        for name in (listed or "").split(os.pathsep):
            if name:
                yield Path(name).expanduser()
    for pattern in _USUAL:
        yield from sorted(Path("/").glob(pattern[1:]), reverse=True)


def _look(folder: Path) -> Tools | None:
    dump, restore = folder / "pg_dump", folder / "pg_restore"
    if not (os.access(dump, os.X_OK) and os.access(restore, os.X_OK)):
        return None
    if dump.resolve().name == "pg_wrapper":
        return None  # Debian's: which version it starts depends on more than its name
    try:
        done = subprocess.run(
            [str(dump), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    match = _VERSION.search(done.stdout)
    if done.returncode or match is None:
        return None
    return Tools(folder, match[1] + match[2], int(match[1]))

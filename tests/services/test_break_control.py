"""The desk's own database: missing, damaged, full, read-only, newer, opened by many at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from services import backup, monitor, restore
from services.core import audit, jobs
from services.core.context import Context, open_context
from services.core.errors import Broken, Misconfigured, describe
from services.core.settings import PROJECT_ROOT
from services.people import accounts
from services.protection.index import catalog
from services.shop.attach import attach
from tests.conftest import person
from tests.doors import run_door

COMMAND = [sys.executable, str(PROJECT_ROOT / "services" / "backup.py")]


@pytest.fixture
def control(ctx: Context) -> Path:
    return ctx.settings.instance_dir / "control.db"


def _run(ctx: Context, *arguments: str, module: str = "services.backup"):
    return run_door(ctx, module, *arguments)


def _gone(control: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        control.with_name(control.name + ending).unlink(missing_ok=True)


def _folder(control: Path) -> None:
    _gone(control)
    control.mkdir()


def _garbage(control: Path) -> None:
    _gone(control)
    control.write_bytes(b"this is no database " * 500)


def _torn(control: Path) -> None:
    with closing(sqlite3.connect(control)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(control.read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 64] = b"\xff" * 64
    _gone(control)
    control.write_bytes(data)


def _newer(control: Path) -> None:
    with closing(sqlite3.connect(control)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'c9999'")


@pytest.mark.parametrize(
    ("ruin", "code", "said"),
    [
        (_garbage, 1, "is damaged or no database"),
        (_torn, 1, "is damaged or no database"),
        (_folder, 3, "is not there, or not the desk's"),
        (_newer, 3, "newer version of the desk: it stands at c9999"),
    ],
)
def test_a_control_database_that_cant_be_used_is_named_with_what_to_do(
    ctx, shop, control, ruin, code, said
):
    ctx.close()
    ruin(control)
    before = control.read_bytes() if control.is_file() else None
    for module, arguments in (
        ("services.backup", ()),
        ("services.restore", ("list",)),
        ("services.monitor", ()),
        ("services.desk", ("--port", "8597")),
        ("services.people.accounts", ("list",)),
    ):
        done = _run(ctx, *arguments, module=module)
        assert done.returncode == code, (module, done.stderr)
        assert str(control) in done.stderr and said in done.stderr
        assert "Traceback" not in done.stderr
    assert (control.read_bytes() if control.is_file() else None) == before


@pytest.mark.parametrize("ruin", [_gone, lambda control: (_gone(control), control.touch())])
def test_an_empty_control_database_gets_the_whole_list_back_from_the_store(
    ctx, shop, operator, control, ruin
):
    made = [backup.run(ctx, operator).result["snapshot"] for _ in range(2)]
    ctx.close()
    ruin(control)
    anew = open_context(ctx.settings)
    try:
        assert [row.id for row in backup.snapshots(anew, operator).rows] == made[::-1]
        assert restore.preview(anew, operator, "latest", frozenset({"database"})).lines
    finally:
        anew.close()


def test_desks_that_start_at_once_migrate_a_new_database_once(ctx, control):
    ctx.close()
    _gone(control)
    environment = {**os.environ, **ctx.settings.as_environment()}
    starting = [
        subprocess.Popen([*COMMAND, "--list"], env=environment, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in starting:
        _out, said = process.communicate()
        assert (process.returncode, said) == (0, b"")
    with closing(sqlite3.connect(control)) as database:
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


@pytest.fixture
def full(ctx, shop, operator):
    """A desk with a backup, whose control database can't grow any more, as on a full disk."""
    backup.run(ctx, operator)
    with closing(sqlite3.connect(ctx.settings.instance_dir / "control.db")) as database, database:
        # Whatever free pages there are get used up.
        database.execute("VACUUM")
        (pages,) = database.execute("PRAGMA page_count").fetchone()
    ctx.control.dispose()

    @event.listens_for(ctx.control, "connect")
    def _no_room(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    while True:
        try:
            audit.note(ctx, operator, "x.filling", ("", ""), "x" * 450)
        except OperationalError:
            return ctx


def test_a_full_disk_below_the_control_database_lets_people_look_on(full, operator, monkeypatch):
    ctx = full
    monkeypatch.setattr(catalog, "FRESH", catalog.FRESH * 0)
    assert monitor.posture(ctx, person("admin"))
    page = backup.snapshots(ctx, operator)
    assert page.total == 1
    assert backup.days(ctx, operator, 5) and backup.current(ctx) is None
    assert restore.undo_offer(ctx, operator) is None
    assert backup.manifest(ctx, operator, "latest").id == page.rows[0].id


def test_a_change_on_a_full_disk_is_refused_whole_with_words(full, operator):
    ctx, made = full, 0
    with pytest.raises(OperationalError) as error:
        for made in range(1000):  # the last pages still have room for some
            accounts.create(ctx, person("admin"), f"ann{made}", f"Ann {made} {'n' * 90}", "editor")
    message, hint, error_id = describe(error.value)
    assert "could not be written: the disk is full" in message and "Free some" in hint
    assert not error_id
    with pytest.raises(OperationalError):
        params = {"much": "x" * 20_000}
        jobs.create(ctx, operator, "restore", lock="protection", params=params)
    assert jobs.active(ctx, "protection") is None
    created = audit.AuditFilter(actions=("account.create",))
    assert audit.events(ctx, person("admin"), created).total == made
    assert len(accounts.list_accounts(ctx, person("admin"))) == made
    with ctx.control.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_newer_versions_knowledge_tables_are_refused_and_left_alone(ctx, shop, operator):
    with closing(sqlite3.connect(shop)) as database, database:
        database.execute("UPDATE kb_alembic_version SET version_num = 'k9999'")
    before = shop.read_bytes()
    with pytest.raises(Misconfigured, match="newer version of the desk: it stands at k9999"):
        attach(ctx)
    assert shop.read_bytes() == before


def test_a_control_database_in_trouble_is_no_bug_but_a_bug_is():
    told = describe(sqlite3.DatabaseError("database disk image is malformed"))
    assert "damaged" in told[0] and "control.sqlite3.zst" in told[1] and not told[2]
    assert describe(sqlite3.IntegrityError("UNIQUE constraint failed: x.y"))[2]
    assert describe(sqlite3.OperationalError('near "SELCT": syntax error'))[2]
    assert describe(Broken("As it is.", "Do this.")) == ("As it is.", "Do this.", "")

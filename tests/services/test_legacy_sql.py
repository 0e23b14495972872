"""Old `.sql` backups: taken apart, never run by psql, counted, and restored like any other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from db.control import jobs as table
from db.engine import write
from services import backup, legacy, restore
from services.core import jobs
from services.core.context import Context
from services.core.errors import Broken, Invalid, Misconfigured
from services.protection import remains
from services.protection.index import catalog
from services.protection.legacy import sql_dump, sql_load
from services.protection.legacy.sql_load import PREFIX
from services.protection.model import Part
from services.protection.sources import postgres
from tests.faults.scene import furnish
from tests.faults.scene_postgres import desk_on, facts_on
from tests.legacy_bucket import OldBucket
from tests.postgres import PASSWORD, PostgresServer

STAMP = "20261101_020000"


def dump(server: PostgresServer, url: str, *options: str) -> bytes:
    """What the old script stored: pg_dump's plain text."""
    return subprocess.run(
        [server.bin_dir / "pg_dump", "--clean", "--if-exists", *options, url],
        env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")},
        capture_output=True,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def good(postgres_server) -> bytes:
    """A whole dump of a shop with 33 products."""
    return dump(postgres_server, postgres_server.make_shop(products=33))


@pytest.fixture
def desk(settings, postgres_server):
    """A desk beside a shop on a server, whose store old scripts used."""
    with desk_on(settings, postgres_server, postgres_server.make_shop(attached=True)) as ctx:
        furnish(ctx, pictures=False)
        yield ctx


def put(desk: Context, content: bytes, stamp: str = STAMP) -> str:
    """Store a dump where the old script did; gives its key in the list."""
    root = Path(desk.settings.store_url.removeprefix("file:"))
    path = root / "backups" / "database" / f"insightshop_{stamp}.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return f"{desk.settings.store_url}#backups/database/{path.name}"


def left_behind(server: PostgresServer) -> list[str]:
    """Databases and roles that an import made and did not remove."""
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) UNION ALL "
            "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)",
            (PREFIX, PREFIX),
        )
        return sorted(name for (name,) in rows)


def products(desk: Context) -> int:
    with postgres.connect(desk.settings.shop_database_url) as connection:
        return int(connection.execute("SELECT count(*) FROM products").fetchone()[0])


def test_a_dump_becomes_a_proven_snapshot_and_is_restored_and_undone(
    desk, operator, good, postgres_server
):
    key = put(desk, good)
    before = facts_on(desk)
    done = legacy.run_adopt(desk, operator, key).result
    row = catalog.find(desk, done["snapshot"])
    assert row.id.startswith("20261101T020000Z-") and row.verified_at and not row.verify_error
    made = backup.manifest(desk, operator, row.id)
    assert made.engines == {"database": "postgresql"} and made.tables["products"].rows == 33
    assert facts_on(desk) == before and left_behind(postgres_server) == []

    plan = restore.preview(desk, operator, row.id, frozenset({Part.DATABASE}))
    restore.run(desk, operator, plan, plan.word)
    assert products(desk) == 33
    undo = restore._undo(desk, operator, offer := restore.undo_offer(desk, operator))
    restore.run(desk, operator, undo, undo.word, undo_of=offer.job_id)
    assert facts_on(desk) == before


def _cut_in_rows(good: bytes) -> bytes:
    begin = good.index(b"COPY public.products")
    return good[: good.index(b"\n", begin + 400)] + b"\n--\n-- PostgreSQL database dump complete\n"


def _before_the_rows(good: bytes, line: bytes) -> bytes:
    at = good.index(b"COPY public.products")
    return good[:at] + line + b"\n" + good[at:]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda good: b"", "empty file of 0 bytes"),
        (lambda good: good[: len(good) // 2], "was cut short: the line that ends every whole"),
        (lambda good: good[:-100], "was cut short: the line that ends every whole"),
        (_cut_in_rows, "was cut short in the rows of products"),
        (lambda good: b"PGDMP" + good[40:], "no dump of a PostgreSQL database"),
        (lambda good: _before_the_rows(good, rb"\! touch {ran}"), "a command for psql"),
        (lambda good: _before_the_rows(good, rb"\copy users from program 'x'"), "for psql"),
        (lambda good: _before_the_rows(good, rb"\i /etc/passwd"), "a command for psql"),
        (lambda good: _before_the_rows(good, rb"\connect other"), "a command for psql"),
        (lambda good: _before_the_rows(good, rb"\restrict x \! touch {ran}"), "for psql"),
        (lambda good: _before_the_rows(good, rb"SELECT 1 \! touch {ran}"), "refused a statement"),
        (lambda good: _before_the_rows(good, b"SELECT no_such()"), "refused a statement"),
        (lambda good: good.replace(b"\n1\t", b"\n2\t", 1), "refused a statement"),
        (
            lambda good: good.replace(b"\n--\n-- PostgreSQL database dump complete",
                                      b"\nDELETE FROM public.order_items;\n"
                                      b"--\n-- PostgreSQL database dump complete"),
            "says 120 rows of order_items and brought 0",
        ),
    ],
)  # fmt: skip
def test_a_dump_that_is_not_whole_or_would_do_more_is_refused(
    desk, operator, good, postgres_server, tmp_path, spoil, says
):
    ran = tmp_path / "it-ran"
    key = put(desk, spoil(good).replace(b"{ran}", bytes(ran)))
    before = facts_on(desk)
    with pytest.raises(Broken, match=says):
        legacy.run_adopt(desk, operator, key)
    assert not ran.exists() and facts_on(desk) == before
    assert left_behind(postgres_server) == []
    assert not (Path(desk.settings.store_url.removeprefix("file:")) / "manifests").exists()


def test_rows_that_look_like_commands_are_rows(desk, operator, good):
    line = good.index(b"\n", good.index(b"COPY public.products")) + 1
    end = good.index(b"\n", line)
    name = re.compile(rb"\tProduct 1\t")
    odd = name.sub(rb"\t\\\\! touch /tmp/x\t", good[line:end])
    done = legacy.run_adopt(desk, operator, put(desk, good[:line] + odd + good[end:])).result
    assert done["passed"]


def test_commands_that_newer_tools_write_for_safety_are_let_pass(
    desk, operator, good, postgres18_server
):
    assert b"\\restrict" in good
    newer = dump(postgres18_server, postgres18_server.make_shop(products=12))
    assert b"SET transaction_timeout" in newer  # which this older server does not have
    done = legacy.run_adopt(desk, operator, put(desk, newer)).result
    assert catalog.find(desk, done["snapshot"]).headline["products"] == 12


def test_owners_and_rights_of_another_server_do_not_matter(desk, operator, good):
    strange = good.replace(b"OWNER TO shop;", b"OWNER TO nobody_here;").replace(
        b"-- PostgreSQL database dump complete",
        b"GRANT SELECT ON TABLE public.users TO nobody_here;\n-- PostgreSQL database dump complete",
    )
    assert strange.count(b"nobody_here") > 4
    assert legacy.run_adopt(desk, operator, put(desk, strange)).result["passed"]


@pytest.fixture
def superuser_desk(settings, postgres_server):
    url = postgres_server.make_shop().replace("//shop:", "//postgres:")
    with desk_on(settings, postgres_server, url) as ctx:
        yield ctx


def test_a_superusers_rights_do_not_reach_the_file(superuser_desk, operator, good, postgres_server):
    ran = postgres_server.folder / "it-ran"
    for line in (
        f"COPY (SELECT 1) TO PROGRAM 'touch {ran}';",
        f"COPY (SELECT 1) TO '{ran}';",
        "CREATE ROLE intruder SUPERUSER;",
        "ALTER ROLE CURRENT_USER SUPERUSER;",
        "SET SESSION AUTHORIZATION postgres; CREATE ROLE intruder SUPERUSER;",
        "SET ROLE postgres; CREATE ROLE intruder SUPERUSER;",
        "RESET ROLE; CREATE ROLE intruder SUPERUSER;",
    ):
        key = put(superuser_desk, _before_the_rows(good, line.encode()))
        with pytest.raises(Broken, match=r"refused a statement \(42501"):
            legacy.run_adopt(superuser_desk, operator, key)
        assert not ran.exists() and left_behind(postgres_server) == []
    with postgres_server.connect() as connection:
        assert not connection.execute(
            "SELECT 1 FROM pg_roles WHERE rolname = 'intruder'"
        ).fetchone()


def test_a_superusers_desk_adopts_a_good_dump_all_the_same(
    superuser_desk, operator, good, postgres_server
):
    done = legacy.run_adopt(superuser_desk, operator, put(superuser_desk, good)).result
    assert done["passed"] and left_behind(postgres_server) == []


def test_an_error_shows_neither_data_nor_password(desk, operator, good):
    secret = good.replace(b"\n1\t", b"\n2\t", 1)
    with pytest.raises(Broken) as caught:
        legacy.run_adopt(desk, operator, put(desk, secret))
    assert PASSWORD not in str(caught.value) and "Product" not in str(caught.value)


def ended_import(desk, operator) -> jobs.Job:
    """The job of an import that was killed."""
    job = jobs.create(desk, operator, legacy.KIND)
    with write(desk.control) as connection:
        ended = {"state": "interrupted", "ended_at": desk.now()}
        connection.execute(update(table).where(table.c.id == job.id).values(**ended))
    return job


def test_what_a_killed_import_left_on_the_server_goes_with_the_next(
    desk, operator, good, postgres_server
):
    killed = ended_import(desk, operator)
    url = desk.settings.shop_database_url
    postgres.create_side(url, f"{sql_load._prefix(url)}{killed.id}")
    legacy.run_adopt(desk, operator, put(desk, good))
    assert left_behind(postgres_server) == []


def test_an_sqlite_copy_can_be_looked_at_beside_a_shop_on_a_server(desk, operator, tmp_path):
    root = Path(desk.settings.store_url.removeprefix("file:"))
    OldBucket(root, tmp_path).database(STAMP)
    (found,) = legacy.legacy(desk, operator).backups
    done = legacy.run_adopt(desk, operator, found.key).result
    assert catalog.find(desk, done["snapshot"]).verified_at
    with pytest.raises(Invalid, match="holds an SQLite file, and the shop runs on a PostgreSQL"):
        restore.preview(desk, operator, done["snapshot"], frozenset({Part.DATABASE}))


def test_the_real_old_dump_is_adopted(desk, operator, shared_shop, tmp_path):
    with tarfile.open(shared_shop / "legacy-bucket.tar.gz") as tar:
        tar.extractall(tmp_path / "real", filter="data")
    root = Path(desk.settings.store_url.removeprefix("file:"))
    shutil.copytree(tmp_path / "real" / "bucket", root, dirs_exist_ok=True)
    newest = legacy.legacy(desk, operator).backups[0]
    assert newest.database.key.endswith("180457.sql") and newest.vectors
    done = legacy.run_adopt(desk, operator, newest.key).result
    row = catalog.find(desk, done["snapshot"])
    assert row.verified_at and row.parts == {Part.DATABASE, Part.VECTORS}
    parts = sql_dump.take_apart(root / newest.database.key, "it")
    brought = {part.table: part.count for part in parts if isinstance(part, sql_dump.Rows)}
    assert row.headline["products"] == brought["products"] > 60


def test_nothing_of_a_dump_is_run_to_look_at_it(tmp_path, good):
    path = tmp_path / "x.sql"
    path.write_bytes(good)
    parts = sql_dump.take_apart(path, "x.sql")
    rows = {part.table: part.count for part in parts if isinstance(part, sql_dump.Rows)}
    assert rows["products"] == 33 and rows["users"] == 12


def test_a_desk_without_rights_to_make_a_database_says_so(desk, operator, good, postgres_server):
    with postgres_server.connect() as connection:
        connection.execute(f"CREATE ROLE poor LOGIN PASSWORD '{PASSWORD}'")
    try:
        url = desk.settings.database_url.get_secret_value().replace("//shop:", "//poor:")
        poor = replace(
            desk, settings=desk.settings.model_copy(update={"database_url": SecretStr(url)})
        )
        with pytest.raises(Misconfigured, match="may not create a database"):
            legacy.run_adopt(poor, operator, put(desk, good))
    finally:
        with postgres_server.connect() as connection:
            connection.execute("DROP ROLE poor")


def test_what_a_killed_import_left_goes_and_what_a_living_one_is_at_stays(
    desk, operator, postgres_server
):
    """Both are told by their names: the desk that starts may meet an import that starts too."""
    url = desk.settings.shop_database_url
    dead, living = ended_import(desk, operator), jobs.create(desk, operator, legacy.KIND)
    names = {job.id: f"{sql_load._prefix(url)}{job.id}" for job in (dead, living)}
    foreign = f"{sql_load._prefix(url)}{'0' * 16}"
    for name in (*names.values(), foreign):
        postgres.create_side(url, name)
    try:
        remains.clear(desk)
        assert left_behind(postgres_server) == sorted([names[living.id], foreign])
    finally:
        for name in (names[living.id], foreign):
            postgres.drop_side(url, name)

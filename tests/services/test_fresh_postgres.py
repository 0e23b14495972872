"""Recovery from the bucket alone, onto a PostgreSQL server that has nothing of the shop."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

from services import backup
from services.core.access import command_line_actor
from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.people import accounts
from services.people.sign_in import sign_in
from services.protection.sources import postgres
from tests.faults import matrix
from tests.faults.scene import furnish
from tests.postgres import PASSWORD as SECRET
from tests.postgres import PostgresServer
from tests.services.lost import PASSWORD, Lost, NewMachine
from tests.services.postgres_desk import desk_on

RESTORED = "every count and digest as recorded"


@dataclass
class Place:
    """A new machine whose databases will be on the server, under names that are free."""

    server: PostgresServer
    machine: NewMachine
    shop: str
    control: str

    @property
    def variables(self) -> dict[str, str]:
        """What the new machine has in its environment besides the store."""
        return {
            "DATABASE_URL": self.shop,
            "CONTROL_DATABASE_URL": self.control,
            "POSTGRES_TOOLS": str(self.server.bin_dir),
        }

    def databases(self) -> set[str]:
        """Every database that begins like one of ours."""
        names = (postgres.database_name(url) for url in (self.shop, self.control))
        return {name for begin in names for name in postgres.databases(self.shop, begin)}

    def desk(self) -> Context:
        """The desk that was recovered."""
        return open_context(
            load_settings(
                env_file=self.machine.home / "no.env",
                desk_home=self.machine.home / "desk",
                shop_root=self.machine.home / "shop",
                backup_store_url=self.machine.lost.source,
                database_url=self.shop,
                control_database_url=self.control,
                **self.server.tools_setting(),
            )
        )


@pytest.fixture
def place(tmp_path, postgres_server, admin, cheap_bcrypt):
    """A shop and a desk on a server, backed up, and lost."""
    store = tmp_path / "store"
    store.mkdir()
    ctx = desk_on(postgres_server, tmp_path / "old", backup_store_url=f"file:{store}")
    furnish(ctx)
    accounts.create(ctx, command_line_actor(), "ada", "Ada Novak", "admin", password=PASSWORD)
    made = backup.run(ctx, admin).result["snapshot"]
    lost = Lost(ctx.settings, backup.manifest(ctx, admin, made), {}, {}, {}, [])
    (tmp_path / "new").mkdir()
    mark = secrets.token_hex(4)
    yield Place(
        postgres_server,
        NewMachine(tmp_path / "new", lost),
        postgres_server.url(f"shop_{mark}"),
        postgres_server.url(f"control_{mark}"),
    )
    ctx.close()


def _back(place: Place) -> None:
    """Everything is what it was, and nothing else is left on the server."""
    assert postgres.table_facts(place.shop) == place.machine.lost.manifest.tables
    assert place.databases() == {
        postgres.database_name(place.shop),
        postgres.database_name(place.control),
    }
    desk = place.desk()
    try:
        assert sign_in(desk, "ada", PASSWORD).account.role == "admin"
    finally:
        desk.close()


def test_both_databases_come_back_where_none_is(place):
    answer = place.machine.fresh(**place.variables)
    assert RESTORED in answer["proved"]["the shop's database"]
    shown = answer["places"]["the shop's database"]
    assert ":***@" in shown and SECRET not in str(answer)
    _back(place)


def test_a_database_with_rows_is_named_and_an_empty_one_is_kept(place):
    taken = place.server.make_shop()
    said = place.machine.refused(**place.variables | {"DATABASE_URL": taken})
    assert "holds rows" in said and "order_items" in said and "never overwrites" in said
    empty = place.server.make_database()
    place.machine.fresh(**place.variables | {"DATABASE_URL": empty})
    assert postgres.table_facts(empty) == place.machine.lost.manifest.tables
    mine = f"{empty.rpartition('/')[2]}_before_"  # others of this server are other tests'
    kept = [name for name in postgres.databases(empty) if name.startswith(mine)]
    assert len(kept) == 1


def test_a_database_of_the_wrong_kind_is_said_before_anything_is_done(place):
    said = place.machine.refused(code=3, POSTGRES_TOOLS=str(place.server.bin_dir))
    assert "PostgreSQL" in said and "DATABASE_URL" in said


@matrix.faults
@pytest.mark.parametrize(
    "at",
    matrix.times(
        ["database swapped"],
        ["database side made", "placing", "control swapped", "database swapped", "finished"],
    ),
)
def test_killed_and_run_again_it_brings_everything_back(place, at):
    machine = place.machine
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.child", "fresh", machine.lost.source],
        cwd=PROJECT_ROOT,
        env={**os.environ, **machine.variables, **place.variables, "KILL_AT": at},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with matrix.cell(matrix.KILLED, "a recovery from the bucket", matrix.POSTGRESQL):
        machine.fresh(**place.variables)
        _back(place)

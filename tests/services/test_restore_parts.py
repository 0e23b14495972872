"""What a restore is made of: the live file, folders, comparison, archives, the journal."""

from __future__ import annotations

import io
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.core.errors import Broken, Conflict, Transient
from services.protection.model import Part
from services.protection.rescue import folders
from services.protection.rescue import live as live_file
from services.protection.rescue.compare import compare, losses
from services.protection.rescue.journal import Journal, Phase, pending, remove, save
from services.protection.rescue.live import Live, LiveState
from services.protection.rescue.plan import RestorePlan, require_no_more_lost
from services.protection.rescue.staging import make_ready, safe_path
from services.protection.rescue.words import (
    KnowledgeDiff,
    PlanLine,
    Tone,
    knowledge_diff,
    table_lines,
)
from services.protection.tar import unpack_members
from tests.shops import add_order, build_shop

TAKEN = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def rows(path: Path, table: str = "orders") -> int:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def two_shops(tmp_path: Path) -> tuple[Path, Path]:
    """(live, snapshot): the live one has 3 orders more."""
    snapshot = build_shop(tmp_path / "snapshot.db")
    live = tmp_path / "live.db"
    shutil.copyfile(snapshot, live)
    rng = random.Random(1)
    with closing(sqlite3.connect(live)) as database, database:
        for number in range(61, 64):
            add_order(database, number, rng)
        database.execute(
            "UPDATE orders SET total = 10.5, created_at = '2026-11-23 10:00:00.000000'"
            " WHERE id > 60"
        )
    return live, snapshot


def test_the_preview_speaks_of_orders_products_and_prices(tmp_path):
    live, snapshot = two_shops(tmp_path)
    with closing(sqlite3.connect(live)) as database, database:
        database.execute("DELETE FROM products WHERE id < 4")
        database.execute("DELETE FROM users WHERE id = 3")
        database.execute("UPDATE products SET price = price + 1 WHERE id > 20")
    found = [line.text for line in table_lines(compare(live, snapshot), TAKEN)]
    assert found[0] == "3 orders placed since then would be lost (total 31.50)"
    assert "3 products and 1 customer come back" in found
    assert "20 prices go back to their earlier value" in found


def test_equal_databases_differ_in_nothing_whatever_their_layout(tmp_path):
    snapshot = build_shop(tmp_path / "a.db")
    with closing(sqlite3.connect(snapshot)) as database:
        database.execute("CREATE TABLE loose (a, b)")
        database.execute("INSERT INTO loose VALUES (NULL, 1)")
        database.execute('CREATE TABLE "odd ""name" ("a key" TEXT PRIMARY KEY, v) WITHOUT ROWID')
        database.execute('INSERT INTO "odd ""name" VALUES (\'x\', NULL)')
        database.commit()
        database.execute(f"VACUUM INTO '{tmp_path / 'b.db'}'")
    diffs = compare(tmp_path / "b.db", snapshot)
    assert {diff.table for diff in diffs} >= {"loose", 'odd "name', "orders"}
    assert losses(diffs) == {}
    assert all(diff.same for diff in diffs)


def test_a_table_or_column_that_only_one_side_has_is_no_obstacle(tmp_path):
    live, snapshot = two_shops(tmp_path)
    with closing(sqlite3.connect(live)) as database, database:
        database.execute("CREATE TABLE coupons (id INTEGER PRIMARY KEY)")
        database.execute("INSERT INTO coupons VALUES (1), (2)")
        database.execute("ALTER TABLE products ADD COLUMN sale_price NUMERIC")
    assert losses(compare(live, snapshot))["coupons"] == 2


def test_knowledge_is_compared_entry_by_entry():
    live = {"fabric": {"silk": {"care": "cold"}, "linen": "x"}, "new": "n"}
    backup = {"fabric": {"silk": {"care": "warm"}, "wool": "y"}}
    assert knowledge_diff(live, backup) == KnowledgeDiff(
        lost=("fabric / linen", "new"), back=("fabric / wool",), changed=("fabric / silk / care",)
    )


def plan(**changes) -> RestorePlan:
    values = {
        "snapshot_id": "20261122T090000Z-abcd",
        "snapshot_at": TAKEN,
        "parts": frozenset({Part.DATABASE, Part.IMAGES}),
        "lines": (PlanLine(Tone.LOST, "3 orders"),),
        "entries": KnowledgeDiff(("a",), (), ("b / c",)),
        "losses": {"orders": 3},
        "live": LiveState.READY,
        "writer": "",
        "restart": True,
        "bytes_needed": 5,
        "seconds": 1.5,
        "word": "insightshop",
        "made_at": TAKEN,
        "fingerprint": "f",
    }
    return RestorePlan(**values | changes)


def test_a_plan_survives_the_jobs_parameters_unchanged():
    import json

    assert RestorePlan.from_dict(json.loads(json.dumps(plan().to_dict()))) == plan()


def test_a_plan_holds_unless_more_would_be_lost_than_was_seen():
    require_no_more_lost(plan(), {"orders": 3})
    with pytest.raises(Conflict, match=r"orders \(1 more\), users \(2 more\)"):
        require_no_more_lost(plan(), {"orders": 4, "users": 2})
    require_no_more_lost(plan(writer="It writes."), {"orders": 400})


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("size", [1024, 4096, 16384])
def test_the_content_goes_into_the_live_file_in_any_journal_mode_and_page_size(
    tmp_path, mode, size
):
    live, snapshot = two_shops(tmp_path)
    with closing(sqlite3.connect(live, isolation_level=None)) as database:
        database.execute(f"PRAGMA page_size={size}")
        database.execute("VACUUM")
        database.execute(f"PRAGMA journal_mode={mode}")
    inode = live.stat().st_ino
    make_ready(snapshot, live_file.page_size(live))
    opened = Live(live)
    with opened.held():
        opened.take_over(snapshot)
    opened.close()
    with closing(sqlite3.connect(live)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone()[0] == mode
        assert database.execute("PRAGMA page_size").fetchone()[0] == size
        assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert rows(live) == 60
    assert live.stat().st_ino == inode


_READER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN")
database.execute("SELECT count(*) FROM orders").fetchone()
print("reading", flush=True)
sys.stdin.readline()
"""


def test_a_reader_that_stays_is_waited_for_only_so_long_and_nothing_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(live_file, "PATIENCE_SECONDS", 0.5)
    live, snapshot = two_shops(tmp_path)
    before = live.read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", _READER, str(live)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as reader:
        assert reader.stdout.readline() == b"reading\n"
        opened = Live(live)
        said = "in use.*nothing was changed.*Stop the shop"
        with pytest.raises(Transient, match=said), opened.held():
            opened.take_over(snapshot)
        opened.close()
        reader.communicate(b"\n")
    assert live.read_bytes() == before
    with closing(sqlite3.connect(live)) as database, database:
        database.execute("DELETE FROM cart_items")


_KILLED_WRITER = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size=5")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE orders SET status = 'gone'")
for number in range(1, 41):
    database.execute("UPDATE products SET description = hex(randomblob(9000)) WHERE id = ?",
                     (number,))
os._exit(9)
"""


def test_a_hot_journal_of_a_killed_shop_does_not_undo_the_restore(tmp_path):
    live, snapshot = two_shops(tmp_path)
    subprocess.run([sys.executable, "-c", _KILLED_WRITER, str(live)], check=False)
    assert live.with_name("live.db-journal").stat().st_size > 0
    torn = tmp_path / "torn.db"
    shutil.copyfile(live, torn)
    gone = "SELECT count(*) FROM orders WHERE status = 'gone'"
    with closing(sqlite3.connect(torn)) as database:
        assert database.execute(gone).fetchone()[0] > 0, "the killed shop had written pages"
    assert live_file.state_of(live) is LiveState.READY
    opened = Live(live)
    with opened.held():
        opened.take_over(snapshot)
    opened.close()
    assert rows(live) == 60
    with closing(sqlite3.connect(live)) as database:
        assert database.execute(gone).fetchone()[0] == 0


def test_a_wal_left_beside_a_missing_database_does_not_undo_the_restore(tmp_path):
    live, snapshot = two_shops(tmp_path)
    killed = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA journal_mode=WAL')\n"
        "database.execute('DELETE FROM orders')\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", killed, str(live)], check=False)
    assert live.with_name("live.db-wal").stat().st_size > 0
    kept = live_file.keep_raw(live, tmp_path / "kept")
    assert {path.name for path in kept} >= {"live.db", "live.db-wal"}
    live_file.replace_file(snapshot, live, "job")
    assert rows(live) == 60
    live_file.put_raw_back(tmp_path / "kept", live)
    assert rows(live) == 0


def test_a_version_moves_only_when_somebody_else_writes(tmp_path):
    live, snapshot = two_shops(tmp_path)
    opened = Live(live)
    seen = opened.version()
    with opened.held():
        assert opened.version() == seen
        opened.take_over(snapshot)
    assert opened.version() == seen
    with closing(sqlite3.connect(live)) as database, database:
        database.execute("DELETE FROM users WHERE id = 1")
    assert opened.version() != seen
    opened.close()


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (None, LiveState.MISSING),
        (b"", LiveState.DAMAGED),
        (b"a shopping list\n" * 999, LiveState.DAMAGED),
    ],
)
def test_what_is_no_database_is_told_from_what_is_missing(tmp_path, content, state):
    path = tmp_path / "shop.db"
    if content is not None:
        path.write_bytes(content)
    assert live_file.state_of(path) is state


def test_a_page_overwritten_in_the_middle_is_damage(tmp_path):
    path = build_shop(tmp_path / "shop.db")
    with open(path, "r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096)
    assert live_file.state_of(path) is LiveState.DAMAGED


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture(params=["renamed", "entry by entry"])
def move(request, tmp_path, monkeypatch) -> folders.FolderMove:
    """A staged exchange of a folder; the second kind as for a mount point."""
    live = tmp_path / "shop" / "pictures"
    live.mkdir(parents=True)
    (live / "old.png").write_bytes(b"old")
    if request.param == "entry by entry":
        monkeypatch.setattr(Path, "is_mount", lambda self: self == live)
    planned = folders.plan_move(Part.IMAGES, live, "j1")
    new = folders.staging(planned)
    (new / "new.png").write_bytes(b"new")
    (new / "more").mkdir()
    (new / "more" / "x.png").write_bytes(b"x")
    folders.staged(planned)
    return planned


def test_a_folder_is_exchanged_and_taken_back_as_often_as_one_likes(move):
    live = Path(move.live)
    new = {"new.png": b"new", "more/x.png": b"x"}
    for _ in range(2):
        folders.exchange(move)
        folders.exchange(move)
        assert {k: v for k, v in tree(live).items() if not k.startswith(".")} == new
        folders.take_back(move)
        folders.take_back(move)
        assert {k: v for k, v in tree(live).items() if not k.startswith(".")} == {"old.png": b"old"}
    folders.exchange(move)
    folders.clear(move)
    folders.clear(move)
    folders.take_back(move)
    assert tree(live) == new
    assert [entry.name for entry in live.parent.iterdir()] == ["pictures"]


def test_what_no_snapshot_holds_is_kept_beside_the_folder(move):
    folders.exchange(move)
    kept = folders.clear(move, keep_old=True)
    assert kept is not None
    assert tree(kept) == {"old.png": b"old"}


def test_a_folder_that_was_missing_is_missing_again_when_taken_back(tmp_path):
    planned = folders.plan_move(Part.VECTORS, tmp_path / "shop" / "vector_db", "j2")
    (folders.staging(planned) / "chroma.sqlite3").write_bytes(b"c")
    folders.staged(planned)
    folders.exchange(planned)
    assert tree(tmp_path / "shop" / "vector_db") == {"chroma.sqlite3": b"c"}
    folders.take_back(planned)
    folders.clear(planned)
    assert not (tmp_path / "shop" / "vector_db").exists()


def archive(*members: tarfile.TarInfo) -> tarfile.TarFile:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    data.seek(0)
    return tarfile.open(fileobj=data, mode="r:")


def member(
    name: str, kind: bytes = tarfile.REGTYPE, size: int = 1, link: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = size if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/passwd"),
        member("../outside"),
        member("a/../../outside"),
        member(".hidden"),
        member("a/.hidden/x"),
        member("link", tarfile.SYMTYPE, link="/etc/passwd"),
        member("hard", tarfile.LNKTYPE, link="chroma.sqlite3"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
        member("huge", size=5000),
    ],
    ids=lambda info: info.name,
)
def test_an_archive_with_a_member_that_no_vector_folder_has_is_refused(tmp_path, bad):
    (tmp_path / "in").mkdir()
    with archive(member("chroma.sqlite3"), bad) as tar, pytest.raises(Broken, match="no vector"):
        unpack_members(tar, tmp_path / "in", 4000)
    assert set(tree(tmp_path)) <= {"in/chroma.sqlite3"}


@pytest.mark.parametrize("name", ["/abs.png", "../up.png", "a/../../b.png", "", "."])
def test_a_picture_can_not_lead_outside_its_folder(name):
    with pytest.raises(Broken, match="outside its folder"):
        safe_path(name)


def test_a_journal_is_read_as_it_was_written_and_forgotten_when_removed(ctx):
    wrote = Journal(
        "j3",
        "s1",
        (Part.DATABASE, Part.VECTORS),
        Phase.APPLYING,
        "/work",
        database="/live",
        safety_id="s2",
        folders=(folders.FolderMove(Part.VECTORS, "/v", "/.v", True),),
        facts={"orders": (60, "abc")},
    )
    save(ctx, wrote)
    assert list(pending(ctx)) == [wrote]
    remove(ctx, wrote)
    assert list(pending(ctx)) == []


def test_what_is_put_in_place_belongs_to_whoever_owned_it(tmp_path):
    """As root, the shop's account keeps its files; otherwise they are the desk's own."""
    snapshot = build_shop(tmp_path / "snapshot.db")
    live = tmp_path / "shop" / "live.db"
    pictures = tmp_path / "shop" / "pictures"
    pictures.mkdir(parents=True)
    owner = 12345 if os.geteuid() == 0 else os.geteuid()
    for path in (live.parent, pictures):
        os.chown(path, owner, -1)
    live_file.replace_file(snapshot, live, "job")
    planned = folders.plan_move(Part.IMAGES, pictures, "j4")
    (folders.staging(planned) / "a.png").write_bytes(b"a")
    folders.staged(planned)
    folders.exchange(planned)
    found = {path.stat().st_uid for path in (live, pictures, pictures / "a.png")}
    assert found == {owner}


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_witness_is_equal_only_when_nobody_wrote(tmp_path, monkeypatch, mode):
    path = build_shop(tmp_path / "shop.db")
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("DELETE FROM cart_items")
        database.commit()
        assert live_file.witness(path) == "", "a write that is too fresh may hide the next one"
        monkeypatch.setattr(live_file, "_FRESH_SECONDS", 0.0)
        before = live_file.witness(path)
        assert before
        database.execute("SELECT count(*) FROM orders").fetchone()
        assert live_file.witness(path) == before
        for file in path.parent.iterdir():
            os.utime(file, ns=(0, 0))
        before = live_file.witness(path)
        database.execute("UPDATE products SET price = price + 1 WHERE id = 1")
        database.commit()
        assert live_file.witness(path) != before


def test_tables_that_nobody_wrote_to_since_the_preview_are_not_compared_again(
    ctx, shop, operator, monkeypatch
):
    from services import restore
    from services.protection.rescue import sqlite_database
    from tests.faults.scene import DATABASE, back_up, damage, furnish

    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(live_file, "_FRESH_SECONDS", 0.0)
    furnish(ctx)
    snapshot = back_up(ctx, operator)
    damage(ctx)
    compared = []
    real = sqlite_database.looked
    monkeypatch.setattr(
        sqlite_database, "looked", lambda *both: (compared.append(both), real(*both))[1]
    )
    plan = restore.preview(ctx, operator, snapshot.id, DATABASE)
    restore.run(ctx, operator, plan, plan.word)
    assert len(compared) == 1
    plan = restore.preview(ctx, operator, snapshot.id, DATABASE)
    with closing(sqlite3.connect(shop)) as database, database:
        add_order(database, 901, random.Random(1))
    with pytest.raises(Conflict, match=r"orders \(1 more\)"):
        restore.run(ctx, operator, plan, plan.word)
    assert len(compared) == 3

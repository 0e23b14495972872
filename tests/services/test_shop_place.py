"""Building the sample shop, removing it, putting it back; and attaching a real one."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from db.control import snapshots
from db.engine import read, write
from services import sample
from services.core import audit, jobs
from services.core.access import system_actor
from services.core.context import Context, open_context
from services.core.errors import Broken, Busy, Conflict, Denied, Invalid, Refused
from services.core.loading import load_settings
from services.knowledge import transfer
from services.protection.model import PROTECTION_LOCK
from services.shop.attach import ShopState, attach, status
from services.shop.sample import site
from services.shop.sample.fashion_kb import FASHION_KNOWLEDGE_BASE
from services.shop.sample_state import Stage, is_sample, load_marker, marker_path
from tests.shops import build_shop


def desk(home: Path, **settings: object) -> Context:
    return open_context(load_settings(env_file=home / "no.env", desk_home=home, **settings))


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Context]:
    """A desk that nobody pointed at a shop."""
    ctx = desk(tmp_path / "desk")
    yield ctx
    ctx.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk on which the sample shop was built, once; tests work on copies."""
    home = tmp_path_factory.mktemp("template") / "desk"
    ctx = desk(home)
    sample.build(ctx, system_actor())
    ctx.close()
    return home


@pytest.fixture
def built(template: Path, tmp_path: Path) -> Iterator[Context]:
    """A desk with the sample shop."""
    ctx = desk(Path(shutil.copytree(template, tmp_path / "desk")))
    yield ctx
    ctx.close()


def files_of(folder: Path) -> dict[str, str]:
    """Every file below a folder and its digest, the desk's own control data left out."""
    own = ("instance/control.db", "instance/jobs", "instance/tmp", "instance/sample-shop.json")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not str(path.relative_to(folder)).startswith(own)
    }


def test_building_gives_an_attached_shop_with_a_full_knowledge_base(bare, admin):
    steps = []
    built = sample.build(bare, admin, watcher=lambda step, fraction: steps.append((step, fraction)))
    assert built.stage is Stage.READY and is_sample(bare)
    assert status(bare).state is ShopState.READY and not attach(bare)
    home = bare.settings.desk_home
    assert all((home / name).exists() for name in built.files)
    assert json.loads(transfer.canonical_json(bare.shop)) == FASHION_KNOWLEDGE_BASE
    with read(bare.shop) as connection:
        authors = connection.scalars(text("SELECT DISTINCT author FROM kb_change_sets")).all()
    assert authors == [sample.AUTHOR]
    assert bare.settings.shop_kb_module.is_file()
    assert not (home / ".sample-shop").exists()
    fractions = [fraction for _, fraction in steps if fraction is not None]
    assert len(steps) >= 5 and fractions == sorted(fractions)
    assert audit.events(bare, admin, audit.AuditFilter(actions=("sample.build",))).total == 1


def test_nothing_is_built_where_the_owner_named_a_shop(tmp_path, admin):
    for named in ({"shop_root": tmp_path / "shop"}, {"db_path": "mine.db"}):
        ctx = desk(tmp_path / "desk", **named)
        assert not sample.wanted(ctx)
        with pytest.raises(Refused, match="names? a shop"):
            sample.build(ctx, admin)
        ctx.close()
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize(
    "there", ["instance/insightshop.db", "vector_db/x", "generated_images/x", "utils/fashion_kb.py"]
)
def test_nothing_is_built_over_anything(bare, admin, there):
    path = bare.settings.desk_home / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"somebody's")
    before = files_of(bare.settings.desk_home)
    assert not sample.wanted(bare)
    with pytest.raises(Refused, match="something at"):
        sample.build(bare, admin)
    assert files_of(bare.settings.desk_home) == before


def test_a_desk_that_has_backups_gets_no_sample_for_its_shop_was_lost(bare, admin):
    values = {
        column.name: "x" if column.type.python_type is str else 0
        for column in snapshots.columns
        if not column.nullable
    }
    values |= {"created_at": bare.now(), "indexed_at": bare.now(), "components": [], "headline": {}}
    with write(bare.control) as connection:
        connection.execute(snapshots.insert().values(values))
    assert not sample.wanted(bare)
    with pytest.raises(Refused, match="restore one of them"):
        sample.build(bare, admin)


def test_production_starts_without_a_sample(tmp_path):
    ctx = desk(tmp_path / "desk", app_env="production")
    assert not sample.wanted(ctx)
    ctx.close()


def test_only_who_may_manage_the_sample_builds_removes_or_puts_back(built, editor, operator):
    for actor in (editor, operator):
        with pytest.raises(Denied):
            sample.build(built, actor)
        with pytest.raises(Denied):
            sample.remove(built, actor, sample.REMOVE_WORD)
        with pytest.raises(Denied):
            sample.put_back(built, actor)
    assert is_sample(built)


@pytest.mark.parametrize("step", ["Drawing", "Putting", "Adding"])
def test_a_build_that_was_killed_is_finished_by_the_next_start(bare, admin, step):
    """Killed while building beside, before placing, and before the knowledge base."""

    def kill(text: str, _fraction: float | None) -> None:
        if text.startswith(step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample.build(bare, admin, watcher=kill)
    assert sample.wanted(bare)
    assert sample.build(bare, admin).stage is Stage.READY
    assert json.loads(transfer.canonical_json(bare.shop)) == FASHION_KNOWLEDGE_BASE
    assert len(list(bare.settings.images_dir.iterdir())) == 40


def test_a_build_killed_while_files_move_is_finished_by_the_next_start(bare, admin, monkeypatch):
    moved = []

    def move(source, target):
        if len(moved) == 3:
            raise KeyboardInterrupt
        moved.append(source)
        Path(source).rename(target)

    with monkeypatch.context() as patch:
        patch.setattr(site.shutil, "move", move)
        with pytest.raises(KeyboardInterrupt):
            sample.build(bare, admin)
    assert load_marker(marker_path(bare.settings)).stage is Stage.PLACING
    assert sample.wanted(bare)
    assert sample.build(bare, admin).stage is Stage.READY
    assert len(list(bare.settings.images_dir.iterdir())) == 40


def test_removing_takes_exactly_the_samples_files_and_putting_back_brings_them_all(built, admin):
    home = built.settings.desk_home
    mine = built.settings.images_dir / "my-own.png"
    mine.write_bytes(b"not the sample's")
    before = files_of(home)
    aside = sample.remove(built, admin, sample.REMOVE_WORD)
    assert aside.parent == built.settings.instance_dir
    left = {name for name in files_of(home) if not name.startswith(f"instance/{aside.name}")}
    assert left == {"generated_images/my-own.png"}
    assert not is_sample(built) and status(built).state is ShopState.MISSING
    assert not sample.wanted(built)  # it does not come back by itself

    assert sample.put_back(built, admin).stage is Stage.READY
    assert files_of(home) == before
    assert is_sample(built) and status(built).state is ShopState.READY
    done = audit.events(built, admin, audit.AuditFilter(actions=("sample.remove",)))
    assert done.total == 1 and done.events[0].actor_name == admin.name


def test_a_removal_that_was_killed_goes_on_into_the_same_folder(built, admin, monkeypatch):
    before = files_of(built.settings.desk_home)
    moved = []

    def move(source, target):
        if len(moved) == 5:
            raise KeyboardInterrupt
        moved.append(source)
        Path(source).rename(target)

    with monkeypatch.context() as patch:
        patch.setattr(site.shutil, "move", move)
        with pytest.raises(KeyboardInterrupt):
            sample.remove(built, admin, sample.REMOVE_WORD)
    assert sample.finish_removal(built) == sample.site.removed(built)
    assert sample.finish_removal(built) is None
    assert len(list(built.settings.instance_dir.glob("removed-sample-*"))) == 1
    sample.put_back(built, admin)
    assert files_of(built.settings.desk_home) == before


def test_removing_needs_the_word_and_no_other_job_at_work(built, admin):
    with pytest.raises(Invalid, match="remove sample"):
        sample.remove(built, admin, "yes")
    jobs.create(built, admin, "backup", lock=PROTECTION_LOCK)
    with pytest.raises(Busy, match="backup"):
        sample.remove(built, admin, sample.REMOVE_WORD)
    assert is_sample(built)


def test_a_real_database_in_the_samples_place_is_neither_called_sample_nor_removed(built, admin):
    path = built.settings.shop_sqlite_path
    path.unlink()
    build_shop(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert not is_sample(built)
    before = files_of(built.settings.desk_home)
    with pytest.raises(Conflict, match="not the sample shop's"):
        sample.remove(built, admin, sample.REMOVE_WORD)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert files_of(built.settings.desk_home) == before


def test_a_lost_or_damaged_sample_database_is_still_the_samples(built):
    path = built.settings.shop_sqlite_path
    path.write_bytes(b"rubbish" * 50)
    assert is_sample(built)
    path.unlink()
    assert is_sample(built)


def test_the_mark_survives_the_copies_that_backup_and_restore_make(built, tmp_path):
    path = built.settings.shop_sqlite_path
    with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(tmp_path / "c")) as copy:
        live.backup(copy, pages=-1)
        copy.execute("VACUUM")
        live.execute("PRAGMA application_id = 0")
        assert not is_sample(built)
        copy.backup(live, pages=-1)
    assert is_sample(built)


def test_a_marker_that_names_files_elsewhere_is_refused(built, admin, tmp_path):
    outside = tmp_path / "precious"
    outside.write_text("mine")
    marker = marker_path(built.settings)
    values = json.loads(marker.read_text())
    for hostile in (["../precious"], [str(outside)], "no list", [7]):
        marker.write_text(json.dumps({**values, "files": hostile}))
        with pytest.raises(Broken, match="can't be read"):
            sample.remove(built, admin, sample.REMOVE_WORD)
    assert outside.read_text() == "mine"
    assert built.settings.shop_sqlite_path.is_file()


def test_attaching_after_the_sample_is_told_in_words(built, admin, monkeypatch, capsys):
    monkeypatch.setenv("DESK_HOME", str(built.settings.desk_home))
    monkeypatch.setattr("builtins.input", lambda _: sample.REMOVE_WORD)
    assert sample.main(["remove"]) == 0
    printed = capsys.readouterr().out
    assert "SHOP_ROOT" in printed and "INSTANCE_ID" in printed and "put-back" in printed
    assert sample.main(["put-back"]) == 0 and sample.main(["status"]) == 0
    assert "sample data" in capsys.readouterr().out
    assert sample.main(["build"]) == 1
    assert sample.main(["dance"]) == 3


def digests(path: Path) -> dict[str, str]:
    """A digest of every row of every table, in rowid order, with the schema's text."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        found = {}
        for name, schema in tables:
            content = connection.execute(f'SELECT rowid, * FROM "{name}" ORDER BY rowid').fetchall()
            found[name] = hashlib.sha256(repr((schema, content)).encode()).hexdigest()
        return found


@pytest.mark.shared
def test_attaching_a_real_shop_adds_the_desks_tables_and_touches_no_other(ctx, shared_shop):
    path = ctx.settings.shop_sqlite_path
    path.parent.mkdir(parents=True)
    path.write_bytes((shared_shop / "insightshop.db").read_bytes())
    before = digests(path)
    assert attach(ctx)
    after = digests(path)
    assert {name: after[name] for name in before} == before and len(before) == 16
    assert all(name.startswith("kb_") for name in after.keys() - before.keys())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_replaced_database_file_is_never_read_through_an_old_connection(ctx, shop):
    with read(ctx.shop) as connection:
        assert connection.scalar(text("SELECT count(*) FROM orders")) == 60
    other = build_shop(shop.with_name("other.db"), orders=5)
    other.replace(shop)
    with read(ctx.shop) as connection:
        assert connection.scalar(text("SELECT count(*) FROM orders")) == 5

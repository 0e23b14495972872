"""Shops in odd places, with odd things lying in their folders."""

from __future__ import annotations

import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from services import backup, restore
from services.core.context import Context, open_context
from services.core.errors import Misconfigured
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.protection.model import Part
from services.protection.rescue import live as live_file
from services.protection.sources import chroma, images
from services.shop.attach import attach
from tests.faults.scene import DATABASE, EVERYTHING, damage, do, furnish, tree, world
from tests.shops import add_order, build_shop


@pytest.fixture(autouse=True)
def _no_long_watch(monkeypatch):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)


@contextmanager
def _desk(home: Path, **overrides: object) -> Iterator[Context]:
    values = {"desk_home": home / "desk", "shop_root": home / "shop", **overrides}
    ctx = open_context(load_settings(env_file=home / "none.env", **values))
    try:
        yield ctx
    finally:
        ctx.close()


@pytest.mark.parametrize("name", ["in shöp", "50%41 off", "who? #1", "a&b;c=d", "~x"])
def test_a_database_is_found_whatever_its_path_holds(tmp_path, operator, name):
    path = tmp_path / name / f"{name}.db"
    with _desk(tmp_path / name, db_path=str(path)) as ctx:
        assert ctx.settings.shop_sqlite_path == path
        build_shop(path)
        attach(ctx)
        made = backup.run(ctx, operator)
        before = world(ctx)
        damage(ctx)
        plan = restore.preview(ctx, operator, made.result["snapshot"], DATABASE)
        restore.run(ctx, operator, plan, plan.word)
        assert world(ctx) == before
        assert (tmp_path / name / "desk" / "instance" / "control.db").is_file()


def test_a_wal_database_with_a_living_writer_is_captured_and_restored_as_wal(ctx, shop, operator):
    with closing(sqlite3.connect(shop)) as database:
        database.execute("PRAGMA journal_mode=WAL")
    stop = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(shop, timeout=30)) as other:
            for number in range(1000, 100_000):
                with other:
                    add_order(other, number, random.Random(number))
                if stop.wait(0.003):
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        job = backup.run(ctx, operator)
    finally:
        stop.set()
        writer.join()
    manifest = backup.manifest(ctx, operator, job.result["snapshot"])
    assert manifest.tables["orders"].rows > 60 and manifest.foreign_key_violations == 1
    do(ctx, operator, manifest.id)
    with closing(sqlite3.connect(shop)) as database:
        count = database.execute("SELECT count(*) FROM orders").fetchone()[0]
        lone = database.execute(
            "SELECT count(*) FROM orders WHERE id NOT IN (SELECT order_id FROM order_items)"
        ).fetchone()[0]
        mode = database.execute("PRAGMA journal_mode").fetchone()[0]
    assert (count, lone, mode) == (manifest.tables["orders"].rows, 0, "wal")


def test_links_to_the_data_stay_links_and_another_disk_is_no_obstacle(tmp_path, operator):
    """The database behind a link on another file system than the desk's temporary folder."""
    other_disk = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    elsewhere = Path(tempfile.mkdtemp(dir=other_disk))
    try:
        with _desk(tmp_path, shop_root=f"{tmp_path / 'shop'}/") as ctx:
            path = ctx.settings.shop_sqlite_path
            path.parent.mkdir(parents=True)
            path.symlink_to(build_shop(elsewhere / "real.db"))
            for folder in (ctx.settings.vector_dir, ctx.settings.images_dir):
                (elsewhere / folder.name).mkdir()
                folder.symlink_to(elsewhere / folder.name)
            attach(ctx)
            furnish(ctx, vectors=True)
            before = world(ctx)
            made = backup.run(ctx, operator)
            damage(ctx)
            do(ctx, operator, made.result["snapshot"], EVERYTHING)
            assert world(ctx) == before
            assert path.is_symlink() and ctx.settings.images_dir.is_symlink()
            assert sorted(file.name for file in elsewhere.iterdir()) == [
                "generated_images",
                "real.db",
                "vector_db",
            ]
    finally:
        shutil.rmtree(elsewhere)


def _plain(folder: Path) -> dict[str, bytes]:
    return {
        name: data
        for name, data in tree(folder).items()
        if not any(
            (folder / part).is_symlink()
            for part in (name, *map(str, Path(name).parents))
            if part != "."
        )
    }


def test_odd_things_in_the_folders_are_kept_or_noted_and_never_followed(
    ctx, shop, operator, tmp_path
):
    furnish(ctx, vectors=True)
    pictures, vectors = ctx.settings.images_dir, ctx.settings.vector_dir
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"nobody's business")
    for name in (b"a\nb.png", b"\xff\xfe.png", b"tab\t.png", b"back\\slash.png", b".hidden.png"):
        Path(os.fsdecode(os.path.join(os.fsencode(pictures), name))).write_bytes(name)
    (pictures / "empty.png").write_bytes(b"")
    (pictures / "deep/er/still").mkdir(parents=True)
    (pictures / "deep/er/still/x.png").write_bytes(b"deep")
    (vectors / "6f1c0c5e-segment" / "new\nline.bin").write_bytes(b"odd")
    links = []
    for folder in (pictures, vectors):
        for name, target in (
            ("file-link", outside / "secret.png"),
            ("folder-link", outside),
            ("nowhere", tmp_path / "absent"),
            ("loop", folder),
        ):
            (folder / name).symlink_to(target)
            links.append((folder / name, target))
        os.mkfifo(folder / "pipe")
        with socket.socket(socket.AF_UNIX) as listening:
            here = os.getcwd()
            os.chdir(folder)  # its address may not be long
            try:
                listening.bind("socket")
            finally:
                os.chdir(here)
    before = _plain(pictures), _plain(vectors / "6f1c0c5e-segment")

    made = backup.run(ctx, operator)
    manifest = backup.manifest(ctx, operator, made.result["snapshot"])
    notes = "\n".join(manifest.notes)
    for name in ("file-link", "folder-link", "nowhere", "loop", "pipe", "socket"):
        assert f"Images: {name} is" in notes and f"Vectors: {name} is" in notes
    stored = [file.read_bytes() for file in tmp_path.glob("desk/instance/backups/images/*/*")]
    assert stored and b"nobody's business" not in stored

    damage(ctx)
    shutil.rmtree(pictures / "deep")
    do(ctx, operator, manifest.id, EVERYTHING)
    assert (_plain(pictures), _plain(vectors / "6f1c0c5e-segment")) == before
    for link, target in links:  # no backup holds them, so no restore takes them away
        assert link.readlink() == target
    assert (outside / "secret.png").read_bytes() == b"nobody's business"


def test_a_file_where_a_folder_should_be_is_noted(ctx, shop, operator):
    ctx.settings.vector_dir.write_text("no folder")
    ctx.settings.images_dir.write_text("no folder")
    made = backup.run(ctx, operator)
    notes = made.result["notes"]
    assert any("no Chroma folder" in note for note in notes)
    assert any(note.startswith("Images: there is no folder") for note in notes)
    assert backup.manifest(ctx, operator, "latest").parts >= {Part.DATABASE, Part.KNOWLEDGE}


def test_a_picture_that_vanishes_while_the_folder_is_read_stops_no_backup(tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    real = Path.lstat

    def lstat(path: Path):
        if path.name == "b.png":
            path.unlink()
        return real(path)

    monkeypatch.setattr(Path, "lstat", lstat)
    found = images.capture(tmp_path)
    assert [picture.name for picture in found.pictures] == ["a.png"]


_AS_NOBODY = """
import os, sys
from pathlib import Path
from services.core.errors import Misconfigured
from services.protection.sources import chroma, images
if os.geteuid() == 0:
    os.seteuid(65534)
print(images.capture(Path(sys.argv[1])).notes)
try:
    chroma.folder_bytes(Path(sys.argv[2]))
except Misconfigured as error:
    print(error)
"""


def test_what_may_not_be_read_is_never_left_out_silently():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("pictures", "vectors"):
            (folder / part / "shut").mkdir(parents=True)
            (folder / part / "shut").chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(folder / "pictures"), str(folder / "vectors")],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
        )
        for part in ("pictures", "vectors"):
            (folder / part / "shut").chmod(0o700)
    assert "the folder shut can't be read and was left out" in done.stdout, done.stderr
    assert "may not read" in done.stdout and "nothing was backed up" in done.stdout


def test_a_vector_file_that_may_not_be_read_makes_no_half_copy(tmp_path, monkeypatch):
    (tmp_path / "live").mkdir()
    with closing(sqlite3.connect(tmp_path / "live" / "chroma.sqlite3")) as database, database:
        database.execute("CREATE TABLE embeddings (id INTEGER)")
    (tmp_path / "live" / "data.bin").write_bytes(b"x")

    def forbidden(source: Path, _target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr(chroma.shutil, "copyfile", forbidden)
    with pytest.raises(Misconfigured, match=r"may not read .*data\.bin; nothing was backed up"):
        chroma.capture(tmp_path / "live", tmp_path / "copy")

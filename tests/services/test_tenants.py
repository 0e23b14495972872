"""Two shops that share a bucket and a scratch folder, with an older program's backups beside."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from services import backup, restore
from services.core.context import Context, open_context
from services.core.errors import Invalid
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.protection.model import Part
from tests.faults.scene import tree
from tests.shops import build_shop

LEGACY = {
    "backups/database/insightshop_20200101_020000.db": b"made by the old script",
    "backups/north/database/insightshop_latest.db": b"of a tenant of the old script",
    "holiday.jpg": b"somebody else's",
    "data/other/20200101T000000Z-aaaa/database.sqlite3.zst": b"a tenant without a desk here",
    "manifests/northern/20200101T000000Z-aaaa.json": b"a name that begins like another",
}


@pytest.fixture
def desks(tmp_path, rclone_server):
    """Two desks, `north` and `south`; each with its own shop, all else shared."""
    bucket = rclone_server.make_bucket()
    client = rclone_server.client()
    for key, content in LEGACY.items():
        client.put_object(Bucket=bucket, Key=key, Body=content)
    with ExitStack() as stack:
        made = {}
        for name, products in (("north", 40), ("south", 25)):
            settings = load_settings(
                env_file=tmp_path / "none.env",
                instance_id=name,
                desk_home=tmp_path / f"desk-{name}",
                shop_root=tmp_path / f"shop-{name}",
                backup_temp_dir=tmp_path / "scratch",
                **rclone_server.settings(bucket),
            )
            made[name] = stack.enter_context(closing(open_context(settings)))
            build_shop(settings.shop_sqlite_path, products=products)
            (settings.images_dir).mkdir(parents=True)
            (settings.images_dir / "1.png").write_bytes(name.encode())
        yield made["north"], made["south"], rclone_server.folder / bucket


def _both_at_once(desks: tuple[Context, ...]) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, str(PROJECT_ROOT / "services" / "backup.py")],
            env={**os.environ, **desk.settings.as_environment()},
            stderr=subprocess.PIPE,
        )
        for desk in desks
    ]
    for process in running:
        _out, said = process.communicate()
        assert (process.returncode, said) == (0, b"")


def _of(bucket: Path, name: str) -> dict[str, bytes]:
    return {key: data for key, data in tree(bucket).items() if f"/{name}/" in key}


def test_neither_sees_or_touches_the_others_backups_or_foreign_objects(desks, operator):
    north, south, bucket = desks
    _both_at_once((north, south))
    _both_at_once((north, south))

    listed = {
        desk.settings.instance_id: {row.id for row in backup.snapshots(desk, operator).rows}
        for desk in (north, south)
    }
    assert [len(ids) for ids in listed.values()] == [2, 2]
    assert not listed["north"] & listed["south"]
    assert {key: (bucket / key).read_bytes() for key in LEGACY} == LEGACY
    assert not list((north.settings.temp_dir).iterdir()), "the scratch folder is empty again"

    for desk, other in ((north, south), (south, north)):
        theirs = _of(bucket, other.settings.instance_id)
        wanted = max(listed[other.settings.instance_id])
        with pytest.raises(Invalid, match="There is no snapshot"):
            backup.manifest(desk, operator, wanted)
        with pytest.raises(Invalid, match="There is no snapshot"):
            restore.preview(desk, operator, wanted, frozenset({Part.DATABASE}))
        assert backup.verify(desk, operator, "latest").read_back_at
        assert _of(bucket, other.settings.instance_id) == theirs


def test_a_restore_of_one_puts_its_own_shop_back_and_leaves_the_other(desks, operator):
    north, south, _bucket = desks
    _both_at_once((north, south))
    other = tree(south.settings.shop_dir)
    good = (north.settings.images_dir / "1.png").read_bytes()
    north.shop.dispose()
    north.settings.shop_sqlite_path.unlink()
    (north.settings.images_dir / "1.png").write_bytes(b"scribbled over")
    plan = restore.preview(north, operator, "latest", frozenset({Part.DATABASE, Part.IMAGES}))
    restore.run(north, operator, plan, plan.word)
    with north.shop.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM products").scalar() == 40
    assert (north.settings.images_dir / "1.png").read_bytes() == good == b"north"
    assert tree(south.settings.shop_dir) == other


def test_the_sweep_of_one_leaves_the_others_upload_alone(desks, operator):
    """What a killed backup of another tenant left is that tenant's to sweep."""
    north, south, bucket = desks
    unfinished = bucket / "data" / "south" / "20200101T000000Z-bbbb" / "database.sqlite3.zst"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"half")
    os.utime(unfinished, (0, 0))
    backup.run(north, operator)
    assert unfinished.read_bytes() == b"half"
    assert backup.snapshots(south, operator).total == 0

"""One bit flipped, or one byte cut off, in every object of a backup, one after the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from services import backup, drill, restore
from services.core.context import Context, open_context
from services.core.errors import Broken, DeskError
from services.core.settings import load_settings
from services.protection.index import catalog
from services.protection.manifest import manifest_key
from services.protection.model import Manifest, Part
from services.protection.rescue import live as live_file
from services.protection.stores import open_store
from services.shop.attach import attach
from tests.faults import matrix
from tests.faults.scene import EVERYTHING, back_up, damage, furnish, leftovers, world
from tests.services.lost import NewMachine, noted
from tests.shops import build_shop

PROVES = {
    "verify": "found by reading back",
    "drill": "found by a test restore",
    "restore": "found by a restore, before anything live was touched",
    "fresh": "found by the recovery from the bucket",
}
BY_RESTORE = {Part.DATABASE, Part.VECTORS, Part.IMAGES}


@dataclass
class Scene:
    """A signed backup, and a shop that was damaged since."""

    ctx: Context
    actor: Any
    manifest: Manifest
    bad: dict[str, Any]
    write: Callable[[str, bytes], object]  # replaces an object behind the desk's back
    machine: NewMachine

    def read(self, key: str) -> bytes:
        """An object as it is stored."""
        with open_store(self.ctx.settings).open(key) as stream:
            return stream.read()

    def objects(self) -> list[str]:
        """Every object of the backup."""
        store = open_store(self.ctx.settings)
        keys = [manifest_key("default", self.manifest.id)]
        keys += [component.key for component in self.manifest.components]
        return keys + sorted(found.key for found in store.list("images/"))

    def part_of(self, key: str) -> Part | None:
        """Of which part an object is; None for the manifest."""
        if key.startswith("images/"):
            return Part.IMAGES
        return next((found.part for found in self.manifest.components if found.key == key), None)

    def finds(self, how: str, key: str) -> str:
        """Have the damage found; gives what was said."""
        if how == "verify":
            with pytest.raises(Broken) as found:
                backup.verify(self.ctx, self.actor, self.manifest.id)
        elif how == "drill":
            with pytest.raises(Broken) as found:
                drill.run(self.ctx, self.actor, self.manifest.id)
            assert catalog.find(self.ctx, self.manifest.id).verified_at is None
        elif how == "fresh":
            return self.machine.refused()
        else:
            with pytest.raises(DeskError) as found:
                plan = restore.preview(self.ctx, self.actor, self.manifest.id, EVERYTHING)
                restore.run(self.ctx, self.actor, plan, plan.word)
            assert world(self.ctx) == self.bad, "live data was touched"
            assert leftovers(self.ctx) == []
        return str(found.value)


@pytest.fixture(params=[matrix.LOCAL, matrix.S3])
def scene(request, tmp_path, admin, monkeypatch) -> Iterator[tuple[str, Scene]]:
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.01)
    folder = tmp_path / "store"
    folder.mkdir()
    overrides: dict[str, Any] = {"backup_store_url": f"file:{folder}"}

    def write(key: str, data: bytes) -> None:
        (folder / key).write_bytes(data)

    if request.param == matrix.S3:
        server = request.getfixturevalue("rclone_server")
        bucket, client = server.make_bucket(), server.client()
        overrides = server.settings(bucket)

        def write(key: str, data: bytes) -> None:
            client.put_object(Bucket=bucket, Key=key, Body=data)

    ctx = open_context(
        load_settings(
            env_file=tmp_path / "no.env",
            desk_home=tmp_path / "old" / "desk",
            shop_root=tmp_path / "old" / "shop",
            backup_signing_key="s" * 40,
            **overrides,
        )
    )
    build_shop(ctx.settings.shop_sqlite_path)
    attach(ctx)
    furnish(ctx, vectors=True)
    manifest = back_up(ctx, admin)
    machine = NewMachine(tmp_path / "new", noted(ctx, manifest))
    machine.home.mkdir()
    damage(ctx)
    # What the shop still has is not fetched: nothing of it is left.
    (ctx.settings.images_dir / "looks/3.png").unlink()
    yield request.param, Scene(ctx, admin, manifest, world(ctx), write, machine)
    ctx.close()


def test_one_flipped_bit_or_one_missing_byte_in_any_object_is_found(scene):
    column, scene = scene
    chance = random.Random()
    for key in scene.objects():
        whole = scene.read(key)
        for fault in ("one flipped bit", "one truncated byte"):
            scene.write(key, _damaged(fault, whole, chance))
            for how, words in PROVES.items():
                # An ordinary restore does not read what it does not put back.
                part = scene.part_of(key)
                if how == "restore" and part is not None and part not in BY_RESTORE:
                    continue
                with matrix.cell(f"{fault}: {words}", column):
                    said = scene.finds(how, key)
                    assert said, (fault, how, key)
            scene.write(key, whole)
    # Nothing of this was the end of it: whole again, it is proven and comes back.
    backup.verify(scene.ctx, scene.actor, scene.manifest.id)
    scene.machine.fresh()
    assert scene.machine.equals_the_lost_one()


def _damaged(fault: str, whole: bytes, chance: random.Random) -> bytes:
    if fault == "one truncated byte":
        return whole[:-1]
    altered = bytearray(whole)
    altered[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    return bytes(altered)

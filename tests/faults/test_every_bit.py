"""One bit flipped, or one byte cut off, in every object of a backup, one after the other."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from typing import Any

import pytest

from services import backup, drill, restore
from services.core.context import Context
from services.core.errors import Broken, DeskError
from services.protection.index import catalog
from services.protection.manifest import manifest_key
from services.protection.model import Manifest, Part
from services.protection.rescue import live as live_file
from services.protection.sources import postgres
from services.protection.stores import open_store
from tests.faults import matrix
from tests.faults.either import damage, on_server, world
from tests.faults.scene import EVERYTHING, back_up, furnish, leftovers
from tests.faults.scene_postgres import name_of
from tests.services.lost import Lost, NewMachine, noted

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
    machine: NewMachine

    def read(self, key: str) -> bytes:
        """An object as it is stored."""
        with open_store(self.ctx.settings).open(key) as stream:
            return stream.read()

    def write(self, key: str, data: bytes) -> None:
        """Replace an object behind the desk's back."""
        open_store(self.ctx.settings).put(key, io.BytesIO(data))

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
                parts = EVERYTHING & self.manifest.parts
                plan = restore.preview(self.ctx, self.actor, self.manifest.id, parts)
                restore.run(self.ctx, self.actor, plan, plan.word)
            assert world(self.ctx) == self.bad, "live data was touched"
            assert leftovers(self.ctx) == []
        return str(found.value)


@pytest.fixture(
    params=matrix.times(
        (matrix.SQLITE, matrix.POSTGRESQL),
        (matrix.SQLITE, matrix.SQLITE_S3, matrix.POSTGRESQL),
    )
)
def scene(request, desk_at, tmp_path, admin, monkeypatch) -> tuple[str, Scene]:
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.01)
    ctx = desk_at(request.param, backup_signing_key="s" * 40)
    server = request.getfixturevalue("postgres_server") if on_server(ctx) else None
    # What vectors are made of is the same on a server: its dump is what is new.
    furnish(ctx, vectors=server is None)
    manifest = back_up(ctx, admin)
    if server is None:
        machine = NewMachine(tmp_path / "new", noted(ctx, manifest))
    else:
        machine = NewMachine(tmp_path / "new", Lost(ctx.settings, manifest, {}, {}, {}, []))
        machine.variables |= {
            "DATABASE_URL": server.url(f"{name_of(ctx)}_new"),
            "POSTGRES_TOOLS": str(server.bin_dir),
        }
    machine.home.mkdir()
    damage(ctx)
    # What the shop still has is not fetched: nothing of it is left.
    (ctx.settings.images_dir / "looks/3.png").unlink()
    return request.param, Scene(ctx, admin, manifest, world(ctx), machine)


def test_one_flipped_bit_or_one_missing_byte_in_any_object_is_found(scene):
    column, scene = scene
    chance = random.Random()
    for key in matrix.some(scene.objects(), 2):
        whole = scene.read(key)
        for fault in ("one flipped bit", "one truncated byte"):
            scene.write(key, _damaged(fault, whole, chance))
            for how, words in PROVES.items():
                # An ordinary restore does not read what it does not put back.
                part = scene.part_of(key)
                if how == "restore" and part is not None and part not in BY_RESTORE:
                    continue
                with matrix.cell(matrix.DAMAGED, f"{fault}: {words}", column):
                    said = scene.finds(how, key)
                    assert said, (fault, how, key)
            scene.write(key, whole)
    # Nothing of this was the end of it: whole again, it is proven and comes back.
    backup.verify(scene.ctx, scene.actor, scene.manifest.id)
    scene.machine.fresh()
    if on_server(scene.ctx):
        url = scene.machine.variables["DATABASE_URL"]
        assert postgres.table_facts(url) == scene.manifest.tables
    else:
        assert scene.machine.equals_the_lost_one()


def _damaged(fault: str, whole: bytes, chance: random.Random) -> bytes:
    if fault == "one truncated byte":
        return whole[:-1]
    altered = bytearray(whole)
    altered[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    return bytes(altered)

"""A recovery from the bucket alone, where a rule of somebody else has archived things."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services import restore, store
from services.core.context import open_context
from services.core.loading import load_settings
from services.protection.archive.model import RetrievalState
from services.protection.model import Part
from services.protection.stores.base import Tier
from services.shop.attach import attach
from tests.glacier import freeze, slow_archive
from tests.services.lost import Lost, NewMachine, lose
from tests.shops import build_shop


@pytest.fixture
def server(moto_server) -> Iterator[object]:
    slow_archive(moto_server, 2)
    yield moto_server
    slow_archive(moto_server, None)


@pytest.fixture
def bucket(server) -> str:
    return server.make_bucket()


@pytest.fixture
def lost(tmp_path, server, bucket, admin, cheap_bcrypt) -> Lost:
    """A shop that was backed up into a bucket, and is gone."""
    settings = load_settings(
        env_file=tmp_path / "no.env",
        desk_home=tmp_path / "old" / "desk",
        shop_root=tmp_path / "old" / "shop",
        **server.settings(bucket, "desk"),
    )
    ctx = open_context(settings)
    build_shop(settings.shop_sqlite_path)
    attach(ctx)
    yield lose(ctx, admin)
    ctx.close()


@pytest.fixture
def machine(tmp_path, lost) -> NewMachine:
    (tmp_path / "new").mkdir()
    return NewMachine(tmp_path / "new", lost)


def test_pictures_in_an_archive_stop_a_recovery_before_anything_is_fetched(
    machine, lost, server, bucket
):
    frozen = freeze(server, bucket, "desk/images/")
    said = machine.refused()
    assert f"lies in an archive ({len(frozen)} pictures)" in said and len(frozen) == 3
    assert "Nothing was changed" in said and "restore-object" in said


def test_without_its_pictures_the_shop_opens_and_they_follow_when_they_are_back(
    machine, lost, server, bucket, operator
):
    freeze(server, bucket, "desk/images/")
    made = lost.manifest.id
    said = machine.refused()
    for offered in ("--without images", f"retrieve {made}", f"{made} --only images"):
        assert offered in said
    machine.fresh("--without", "images")
    desk, images = machine.desk(), frozenset({Part.IMAGES})
    try:
        store.request_retrieval(desk, operator, made, Tier.STANDARD, 3)
        while store.poll(desk)[0].state is RetrievalState.WAITING:
            pass
        plan = restore.preview(desk, operator, made, images)
        restore.run(desk, operator, plan, plan.word)
    finally:
        desk.close()
    assert machine.equals_the_lost_one()


def test_parts_and_pictures_in_an_archive_are_said_at_once(machine, lost, server, bucket):
    freeze(server, bucket, "desk/images/")
    freeze(server, bucket, "desk/data/")
    said = machine.refused()
    for component in lost.manifest.components:
        assert component.name in said
    assert "3 pictures)" in said and "--without images" not in said


def test_what_was_brought_back_is_recovered(machine, lost, server, bucket):
    for key in freeze(server, bucket, "desk/images/"):
        server.client().restore_object(Bucket=bucket, Key=key, RestoreRequest={"Days": 7})
        for _look in range(3):
            server.client().head_object(Bucket=bucket, Key=key)
    machine.fresh()
    assert machine.equals_the_lost_one()

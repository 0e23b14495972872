"""Two desks on two hosts, with databases of their own, share one store and one shop's name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from services import backup, retention
from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.protection.index import catalog
from services.protection.stores import open_store
from services.shop.attach import attach
from tests.conftest import Clock, person
from tests.faults.scene import back_up, furnish
from tests.shops import build_shop

OPERATOR = person("operator")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Context, Context, Clock]]:
    """Real time, moved on by hand: files of the local store have the machine's time."""
    from services.core.context import utc_now

    clock = Clock(utc_now() - timedelta(days=6))
    (tmp_path / "store").mkdir()
    desks = []
    for name in ("one", "two"):
        settings = load_settings(
            env_file=tmp_path / "none.env",
            desk_home=tmp_path / name,
            shop_root=tmp_path / "shop",
            backup_store_url=f"file:{tmp_path / 'store'}",
            keep_days=2,
            keep_weeks=0,
            keep_months=0,
            keep_minimum=1,
        )
        desks.append(open_context(settings, clock))
    build_shop(desks[0].settings.shop_sqlite_path)
    attach(desks[0])
    furnish(desks[0])
    yield desks[0], desks[1], clock
    for desk in desks:
        desk.close()


def test_what_one_removes_the_other_forgets_and_what_is_shared_stays_for_both(pair):
    one, two, clock = pair
    made = []
    # Each shares what did not change since the backup that it made and read back itself.
    for desk in (one, one, two, two, two, two):
        catalog.refresh(desk, open_store(desk.settings))
        made.append(back_up(desk, OPERATOR).id)
        clock.forward(days=1)
    plan = retention.plan(one, person("admin"))
    gone = {each.row.id for each in plan.going}
    newest = catalog.find(one, made[-1])
    assert newest.id not in gone and newest.origins & gone, "it uses what lies below one that goes"
    retention.run(one, person("admin"), plan, plan.word)
    # The other desk still lists them; it hears of it with its next look, and the rest is whole.
    backup.refresh(two, OPERATOR)
    left = {row.id for row in catalog.everything(two)}
    assert left == set(made) - gone
    for desk in (one, two):
        for snapshot_id in left:
            assert backup.verify(desk, OPERATOR, snapshot_id).verify_error is None
    assert back_up(one, OPERATOR).id not in left
    backup.refresh(two, OPERATOR)
    assert len(catalog.everything(two)) == len(left) + 1

"""Backups, drills and the monitor tell somebody at once, and none fails because nobody hears."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from services import backup, drill, monitor
from services.core.context import Context, open_context
from services.core.errors import Broken, DeskError
from services.core.loading import load_settings
from services.watch import alerts, notify
from services.watch.notify import Beat
from tests.drills import flip, furnished_desk, stored
from tests.services.inbox import CLOSED, FAILED, TOKEN, Inbox, errors, listening, telling


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with listening() as box:
        yield box


@pytest.fixture
def made(tmp_path, tmp_path_factory, inbox) -> Iterator[tuple[Context, str]]:
    """A desk with a shop, a backup and somebody to tell, and the backup's id."""
    manifest = furnished_desk(tmp_path, tmp_path_factory, vectors=False)
    context = open_context(
        load_settings(
            env_file=tmp_path / "none.env",
            desk_home=tmp_path / "desk",
            shop_root=tmp_path / "shop",
            alert_urls=inbox.address,
            heartbeat_url=f"http://127.0.0.1:{inbox.port}/ping/{TOKEN}?a=1",
        )
    )
    yield context, manifest.id
    context.close()


def test_a_failed_drill_fires_an_alert_at_once_and_one_that_passes_ends_it(
    made, inbox, operator, admin
):
    ctx, snapshot_id = made
    backup.refresh(ctx, admin)
    manifest = backup.manifest(ctx, admin, snapshot_id)
    broken = stored(ctx, next(c.key for c in manifest.components if c.name.startswith("database")))
    whole = broken.read_bytes()
    flip(broken)
    with pytest.raises(Broken, match="test restore of .* failed"):
        drill.run(ctx, operator, snapshot_id)
    assert inbox.titles == ["At risk: Test restore failed"]
    assert snapshot_id in inbox.messages[0]["message"]
    monitor.evaluate(ctx, admin)
    assert inbox.titles.count("At risk: Test restore failed") == 1, "it is the same alert"
    assert "At risk: Newest backup damaged" not in inbox.titles, "nor the same trouble twice"
    broken.write_bytes(whole)
    drill.run(ctx, operator, snapshot_id)
    monitor.evaluate(ctx, admin)
    assert "Resolved: Test restore failed" in inbox.titles
    assert all(alert.rule != "drill.failed" for alert in alerts.standing(ctx, admin))


def test_a_backup_tells_the_dead_mans_switch_and_its_failure_fires_at_once(
    made, inbox, operator, admin, monkeypatch
):
    ctx, _id = made
    root = Path(ctx.settings.store_url.removeprefix("file:"))
    aside = root.rename(root.with_name("away"))
    root.write_text("no folder")
    with pytest.raises((DeskError, OSError)):
        backup.run(ctx, operator)
    assert inbox.pings == [f"/ping/{TOKEN}/start?a=1", f"/ping/{TOKEN}/fail?a=1"]
    assert inbox.titles == ["At risk: Backup failed"]
    root.unlink()
    aside.rename(root)
    backup.run(ctx, operator)
    assert inbox.pings[2:] == [f"/ping/{TOKEN}/start?a=1", f"/ping/{TOKEN}?a=1"]
    assert inbox.titles == ["At risk: Backup failed", "Resolved: Backup failed"]
    beat = notify.last_beat(ctx, admin)
    assert beat is not None and beat.beat is Beat.SUCCESS and beat.error == ""


def test_a_backup_succeeds_though_nobody_can_be_told(made, inbox, operator, admin):
    ctx, _id = made
    ctx = telling(ctx, CLOSED, heartbeat_url=SecretStr(f"http://127.0.0.1:9/{TOKEN}"))
    alerts.observe(ctx, [FAILED])
    assert backup.run(ctx, operator).result["snapshot"]
    beat = notify.last_beat(ctx, admin)
    assert beat is not None and "can't be reached" in beat.error and TOKEN not in beat.error
    assert "onnection" in errors(ctx)


def test_a_database_that_can_not_keep_alerts_is_no_reason_to_fail_a_backup(
    made, operator, monkeypatch
):
    ctx, _id = made

    def breaks(*_what: object, **_more: object) -> None:
        raise RuntimeError("no alerts today")

    monkeypatch.setattr(alerts, "observe", breaks)
    assert backup.run(ctx, operator).result["snapshot"]


def test_the_monitor_of_cron_sends_what_is_due_and_says_so(made, inbox, admin, capsys, monkeypatch):
    ctx, _id = made
    for name, value in ctx.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    alerts.observe(ctx, [FAILED])
    assert monitor.main(["--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["alerts"]
    assert answer["delivered"] == len(inbox.messages) and answer["failed"] == 0
    assert inbox.titles[:2] == ["At risk: Backup failed", "Resolved: Backup failed"]
    inbox.status = 500
    alerts.observe(ctx, [FAILED])
    assert monitor.main([]) == 0
    assert "could not be delivered. JSON (target 1)" in capsys.readouterr().err
    assert [alert.rule for alert in alerts.standing(ctx, admin)] != ["backup.failed"]

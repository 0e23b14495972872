"""Pictures that change while a backup reads or sends them: each is stored as it is then."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from db.engine import write
from services import backup
from services.protection import snapshots
from services.protection.stores import open_store


def test_a_picture_that_changes_while_it_is_read_is_stored_as_it_is_then(
    ctx, shop, operator, monkeypatch
):
    folder = ctx.settings.images_dir
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"old")
    (folder / "gone.png").write_bytes(b"gone")
    real = snapshots.send_pictures

    def late(*arguments):
        (folder / "a.png").write_bytes(b"new")
        (folder / "gone.png").unlink()
        return real(*arguments)

    monkeypatch.setattr(snapshots, "send_pictures", late)
    job = backup.run(ctx, operator)
    made = backup.manifest(ctx, operator, job.result["snapshot"])
    assert snapshots.picture_list(ctx, open_store(ctx.settings), made).keys() == {"a.png"}
    assert backup.verify(ctx, operator, made.id).read_back_at
    assert any("gone.png" in note for note in made.notes)


@pytest.mark.parametrize("changes", ["a.png", "z.png"])
def test_of_two_equal_pictures_one_that_changes_meanwhile_takes_nothing_from_the_other(
    ctx, shop, operator, monkeypatch, changes
):
    """One of the two is sent for both; it is the one that changes, or it is not."""
    folder = ctx.settings.images_dir
    folder.mkdir(parents=True)
    for name in ("a.png", "z.png"):
        (folder / name).write_bytes(b"the same")
    real = snapshots.send_pictures

    def late(*arguments):
        (folder / changes).write_bytes(b"another")
        return real(*arguments)

    monkeypatch.setattr(snapshots, "send_pictures", late)
    made = backup.manifest(ctx, operator, backup.run(ctx, operator).result["snapshot"])
    names = snapshots.picture_list(ctx, open_store(ctx.settings), made)
    assert names.keys() == {"a.png", "z.png"}
    assert backup.verify(ctx, operator, made.id).read_back_at


def test_a_picture_that_changes_while_it_is_sent_again_leaves_what_lay_there(
    ctx, shop, operator, monkeypatch
):
    """Older backups show the object of that name; only what fits its name may replace it."""
    folder = ctx.settings.images_dir
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"old")
    before = backup.manifest(ctx, operator, backup.run(ctx, operator).result["snapshot"])
    with write(ctx.control) as connection:
        connection.execute(text("DELETE FROM stored_pictures"))
    real = snapshots.send_pictures

    def late(*arguments):
        (folder / "a.png").write_bytes(b"new and longer")
        return real(*arguments)

    monkeypatch.setattr(snapshots, "send_pictures", late)
    backup.run(ctx, operator)
    assert backup.verify(ctx, operator, before.id).read_back_at

"""Folders of a restore: exchanged and taken back, never led outside, told in the journal."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from services.core.errors import Broken
from services.protection.model import Part
from services.protection.rescue import folders
from services.protection.rescue import live as live_file
from services.protection.rescue.journal import Journal, Phase, pending, remove, save
from services.protection.rescue.staging import safe_path
from services.protection.tar import unpack_members
from tests.shops import build_shop


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

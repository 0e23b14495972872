"""What only a store in a folder can get wrong: disks, permissions, links, killed writers."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.core.errors import Broken, DeskError, Invalid, Misconfigured
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.protection.stores import open_store
from services.protection.stores.local import INCOMING, LocalStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


@pytest.fixture
def local(root: Path) -> LocalStore:
    return LocalStore(root)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_the_desks_own_folder_is_made_private_at_first_use(settings):
    store = open_store(settings)
    folder = settings.desk_home / "instance" / "backups"
    assert not folder.exists()
    store.put("data/x", io.BytesIO(b"x"))
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "data")] == [0o700] * 2
    assert (folder / "data/x").stat().st_mode & 0o777 == 0o600


def test_a_folder_elsewhere_must_exist_for_it_may_be_a_disk_that_is_not_mounted(tmp_path):
    absent = tmp_path / "mnt" / "disk"
    store = open_store(
        load_settings(
            env_file=tmp_path / "none.env",
            desk_home=tmp_path / "desk",
            backup_store_url=f"file:{absent}",
        )
    )
    for use in (store.check, lambda: list(store.list("")), lambda: store.put("x", io.BytesIO())):
        with pytest.raises(Misconfigured, match="no backup folder") as caught:
            use()
        assert "mount" in caught.value.hint
    assert not absent.parent.exists()


def test_a_file_where_the_folder_should_be_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for store in (LocalStore(tmp_path / "file"), LocalStore(tmp_path / "file" / "x", create=True)):
        with pytest.raises(Misconfigured, match="no backup folder|in the way"):
            store.check()
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_in_the_place_of_an_object_is_said_and_kept(local, root):
    local.put("data/x/y", io.BytesIO(b"inner"))
    with pytest.raises(Misconfigured, match="in the way"):
        local.put("data/x", io.BytesIO(b"outer"))
    with pytest.raises(Misconfigured, match="in the way"):
        local.put("data/x/y/z", io.BytesIO(b"below"))
    assert files(root) == ["data/x/y"]


_AS_NOBODY = """
import io, os, sys
from pathlib import Path
from services.core.errors import Misconfigured
from services.protection.stores.local import LocalStore
if os.getuid() == 0:
    os.setuid(65534)
store = LocalStore(Path(sys.argv[1]))
for use in (store.check, lambda: store.put("data/x", io.BytesIO(b"x"))):
    try:
        use()
    except Misconfigured as error:
        print(error)
"""


def test_a_folder_that_may_not_be_written_is_said(root):
    root.chmod(0o555)
    for folder in (root.parent, *root.parents):
        if folder.is_relative_to(Path("/tmp")) and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    said = _run(_AS_NOBODY, root).splitlines()
    assert len(said) == 2
    assert all("Permission denied" in line and str(root) in line for line in said)
    assert list(root.iterdir()) == []


_SMALL_DISK = """
import io, resource, sys
from pathlib import Path
from services.core.errors import Broken
from services.protection.stores.local import LocalStore
store = LocalStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
store.put("data/small", io.BytesIO(bytes(1_000_000)))
try:
    store.put("data/small", io.BytesIO(bytes(5_000_000)))
except Broken as error:
    print(error)
"""


def test_a_full_disk_is_said_and_leaves_the_old_object_and_nothing_else(root):
    said = _run(_SMALL_DISK, root)
    assert "no room left" in said and "Free some space" in said
    assert files(root) == ["data/small"]
    assert (root / "data/small").stat().st_size == 1_000_000


def test_the_systems_own_no_space_error_is_said(local, root, monkeypatch):
    def full(_file, _piece):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("services.protection.stores.local._write_all", full)
    with pytest.raises(Broken, match="No space left on device"):
        local.put("data/x", io.BytesIO(b"x"))
    assert files(root) == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from services.protection.stores.local import LocalStore
class Source:
    left = 5
    def read(self, size=-1, /):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return b"x" * 100_000
LocalStore(Path(sys.argv[1])).put("data/x", Source())
"""


def test_a_killed_upload_leaves_the_old_object_and_what_it_left_is_swept_after_a_day(local, root):
    local.put("data/x", io.BytesIO(b"old"))
    _run(_KILLED, root, expected=-9)
    assert [found.key for found in local.list("")] == ["data/x"]
    assert (root / "data/x").read_bytes() == b"old"
    (left,) = (root / INCOMING).iterdir()
    local.check()
    assert left.exists()  # young: its upload may be running
    os.utime(left, (1, 1))
    local.check()
    assert files(root) == ["data/x"]


def test_unfinished_uploads_can_be_neither_named_nor_listed(local, root):
    (root / INCOMING).mkdir()
    (root / INCOMING / "half").write_bytes(b"half")
    assert list(local.list("")) == list(local.list(INCOMING)) == []
    with pytest.raises(Invalid):
        local.open(f"{INCOMING}/half").__enter__()


@pytest.mark.parametrize("use", ["put", "open", "stat", "delete"])
def test_no_link_leads_out_of_the_folder(local, root, tmp_path, use):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"theirs")
    (root / "data").symlink_to(outside)
    with pytest.raises(Misconfigured, match="symbolic link"):
        {
            "put": lambda: local.put("data/x", io.BytesIO(b"ours")),
            "open": lambda: local.open("data/x").__enter__(),
            "stat": lambda: local.stat("data/x"),
            "delete": lambda: local.delete("data/x"),
        }[use]()
    assert list(local.list("")) == []
    assert (outside / "x").read_bytes() == b"theirs"


def test_a_link_in_the_place_of_an_object_is_no_object_and_is_replaced_not_followed(
    local, root, tmp_path
):
    (tmp_path / "theirs").write_bytes(b"theirs")
    (root / "x").symlink_to(tmp_path / "theirs")
    assert local.stat("x") is None
    assert list(local.list("")) == []
    with pytest.raises((KeyError, DeskError)):
        local.open("x").__enter__()
    local.put("x", io.BytesIO(b"ours"))
    assert ((root / "x").read_bytes(), (tmp_path / "theirs").read_bytes()) == (b"ours", b"theirs")


def test_the_folder_itself_may_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    store = LocalStore(tmp_path / "link")
    store.put("data/x", io.BytesIO(b"x"))
    assert [found.key for found in store.list("data/")] == ["data/x"]


def test_folders_that_become_empty_go_and_others_stay(local, root):
    for key in ("data/default/a/x", "data/default/b/x"):
        local.put(key, io.BytesIO(b"x"))
    local.delete("data/default/a/x")
    assert not (root / "data/default/a").exists()
    local.delete("data/default/b/x")
    assert not (root / "data").exists()
    assert root.is_dir()


def test_names_that_are_not_utf8_are_not_ours(local, root):
    (root / os.fsdecode(b"bad\xff")).write_bytes(b"x")
    local.put("good", io.BytesIO(b"x"))
    assert [found.key for found in local.list("")] == ["good"]


def test_thousands_of_objects_are_listed_in_order(local, root):
    (root / "images").mkdir()
    for number in range(2503):
        (root / "images" / f"{number:05}").write_bytes(b"")
    assert [found.key for found in local.list("images/")] == [
        f"images/{number:05}" for number in range(2503)
    ]


def _run(program: str, root: Path, expected: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, str(root)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == expected, done.stderr
    return done.stdout

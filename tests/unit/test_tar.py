"""The tar archive of vectors: made as a stream, unpacked without believing a word of it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import Broken
from services.protection.tar import TarReader, unpack

LIMIT = 4000


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = 5 if kind == tarfile.REGTYPE else 0
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def archive_of(folder: Path, *members: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> Path:
    """An archive as a hostile program makes it: header by header."""
    path = folder / "vectors.tar"
    with open(path, "wb") as file:
        for each in members:
            file.write(each.tobuf(form, errors="surrogateescape"))
            content = b"hello"[: each.size].ljust(min(max(each.size, 0), 10_000), b"x")
            file.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
        file.write(bytes(2 * tarfile.BLOCKSIZE))
    return path


def everything_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


GOOD = member("chroma.sqlite3")
HOSTILE = {
    "absolute": [member("/etc/passwd")],
    "two slashes": [member("//etc/passwd")],
    "up": [member("../outside")],
    "up later": [member("a/../../outside")],
    "up and back": [member("a/../a/x")],
    "only up": [member("..", tarfile.DIRTYPE)],
    "the folder itself": [member(".", tarfile.DIRTYPE)],
    "a file for the folder": [member(".")],
    "no name": [member("")],
    "hidden": [member(".hidden")],
    "hidden folder": [member("a/.hidden/x")],
    "a name too long": [member("n" * 256)],
    "a path too long": [member("/".join(["n" * 200] * 6))],
    "symbolic link": [member("link", tarfile.SYMTYPE, linkname="/etc/passwd")],
    "symbolic link inside": [member("link", tarfile.SYMTYPE, linkname="chroma.sqlite3")],
    "through a link": [member("s", tarfile.SYMTYPE, linkname="/tmp"), member("s/x")],
    "hard link": [member("hard", tarfile.LNKTYPE, linkname="chroma.sqlite3")],
    "device": [member("device", tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "block device": [member("disk", tarfile.BLKTYPE)],
    "pipe": [member("pipe", tarfile.FIFOTYPE)],
    "contiguous": [member("old", tarfile.CONTTYPE)],
    "twice": [member("x"), member("x")],
    "twice, written otherwise": [member("a/x"), member("a//x")],
    "twice with a dot": [member("a/x"), member("a/./x")],
    "a folder and a file": [member("x", tarfile.DIRTYPE), member("x")],
    "a file in a file": [member("x"), member("x/y")],
    "a file in a file, backwards": [member("x/y"), member("x")],
    "over the database": [member("chroma.sqlite3")],
    "larger than the manifest": [member("huge", size=LIMIT + 1)],
    "larger together": [member(f"part{n}", size=1500) for n in range(3)],
    "very large": [member("huge", size=8 << 40)],
    "very many": [member(f"f{n}", size=0) for n in range(10_001)],
}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_that_is_not_a_vector_folders_is_refused_before_anything_is_written(
    tmp_path, name, form
):
    inside = tmp_path / "in"
    inside.mkdir()
    archive = archive_of(tmp_path, GOOD, *HOSTILE[name], form=form)
    with pytest.raises(Broken) as refused:
        unpack(archive, inside, LIMIT)
    assert refused.value.hint and "\n" not in refused.value.message
    assert everything_below(tmp_path).keys() == {"vectors.tar"}
    assert not list(inside.iterdir())


def sparse(folder: Path) -> Path:
    info = member("sparse", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                                         "GNU.sparse.realsize": "4000000000"})  # fmt: skip
    return archive_of(folder, GOOD, info)


def nul(folder: Path) -> Path:
    return archive_of(folder, member("x", pax_headers={"path": "chroma.sqlite3\0.png"}))


def negative(folder: Path) -> Path:
    return archive_of(folder, GOOD, member("x", pax_headers={"size": "-512"}))


def long_ago(folder: Path) -> Path:
    """Times that no system can set are no reason to stumble, and are not taken over."""
    return archive_of(folder, member("x", pax_headers={"mtime": "1e300"}))


def garbage(folder: Path) -> Path:
    (folder / "vectors.tar").write_bytes(b"no archive at all" * 100)
    return folder / "vectors.tar"


def cut(folder: Path) -> Path:
    path = archive_of(folder, GOOD, member("x", size=3000))
    path.write_bytes(path.read_bytes()[:2048])
    return path


@pytest.mark.parametrize("make", [sparse, nul, negative, garbage, cut])
def test_what_only_a_program_of_ones_own_can_make_is_refused(tmp_path, make):
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(Broken):
        unpack(make(tmp_path), inside, LIMIT)
    assert everything_below(tmp_path).keys() <= {"vectors.tar", "in/chroma.sqlite3"}


def test_times_owners_and_modes_of_the_archive_are_not_taken_over(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    archive = archive_of(tmp_path, member("x", mode=0o6777, uid=12345, gid=12345, mtime=2**33))
    unpack(archive, inside, LIMIT)
    found = (inside / "x").stat()
    assert stat.S_IMODE(found.st_mode) == 0o644 & ~_umask()
    assert found.st_uid == os.geteuid() and found.st_mtime < 2**33
    unpack(long_ago(tmp_path), inside / "again", LIMIT)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_nothing_is_unpacked_over_a_file_that_is_there(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "chroma.sqlite3").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Broken):
        unpack(archive_of(tmp_path, GOOD), inside, LIMIT)
    assert not (tmp_path / "elsewhere").exists()
    (inside / "chroma.sqlite3").unlink()
    (inside / "chroma.sqlite3").write_bytes(b"the shop's")
    with pytest.raises(FileExistsError):
        unpack(archive_of(tmp_path, GOOD), inside, LIMIT)
    assert (inside / "chroma.sqlite3").read_bytes() == b"the shop's"


_NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/\\"),
    min_size=1,
    max_size=40,
).filter(lambda name: not name.startswith(".") and name.strip("/") == name)


@given(
    st.dictionaries(
        st.lists(_NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=3000), max_size=8
    )
)
@settings(max_examples=60)
def test_whatever_folder_was_packed_comes_back_exactly(tmp_path_factory, files):
    files = {
        name: content
        for name, content in files.items()
        if not any(other != name and other.startswith(f"{name}/") for other in files)
        and all(len(part.encode()) <= 255 for part in name.split("/"))
    }
    folder = tmp_path_factory.mktemp("tar")
    members = []
    for number, (name, content) in enumerate(files.items()):
        source = folder / f"source{number}"
        source.write_bytes(content)
        members.append((name, source))
    archive = folder / "vectors.tar"
    archive.write_bytes(TarReader(members).read())
    inside = folder / "in"
    inside.mkdir()
    unpack(archive, inside, sum(len(content) for content in files.values()))
    assert everything_below(inside) == files


@given(st.data())
@settings(max_examples=120)
def test_no_altered_archive_writes_outside_or_more_than_it_may(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("tar")
    sources = folder / "source"
    sources.write_bytes(b"v" * 700)
    good = TarReader([("chroma.sqlite3", sources), ("segment/data_level0.bin", sources)]).read()
    altered = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        altered[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    archive = folder / "vectors.tar"
    archive.write_bytes(bytes(altered))
    inside = folder / "in"
    inside.mkdir()
    with suppress(Broken):
        unpack(archive, inside, 1400)
    found = everything_below(folder)
    assert all(name.startswith(("in/", "source", "vectors.tar")) for name in found)
    assert sum(len(content) for name, content in found.items() if name.startswith("in/")) <= 1400


def test_the_archive_of_a_folder_is_a_plain_tar(tmp_path):
    (tmp_path / "a").write_bytes(b"a" * 1000)
    with tarfile.open(fileobj=io.BytesIO(TarReader([("deep/a", tmp_path / "a")]).read())) as tar:
        assert tar.getnames() == ["deep/a"]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_odd_names_that_a_folder_can_hold_come_back(tmp_path: Path, form: int):
    # Refused, they would make a backup that can't be restored of a folder that has one.
    names = ["a\\b", "C:\\x", "new\nline", "bell\x07", "no\udcffutf", "seg/äöü ☃"]
    archive = archive_of(tmp_path, *(member(name) for name in names), form=form)
    unpack(archive, tmp_path / "out", LIMIT)
    assert everything_below(tmp_path / "out") == dict.fromkeys(names, b"hello")
